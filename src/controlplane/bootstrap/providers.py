"""The providers of this build. Adding one is its folder under adapters/providers, and its line in MARKETPLACES."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from controlplane import logs
from controlplane.adapters.providers.ionet import IonetProvider, IonetSettings
from controlplane.adapters.providers.tensordock import TensordockProvider, TensordockSettings
from controlplane.adapters.providers.vastai import VastaiProvider, VastaiSettings
from controlplane.adapters.system import SystemClock
from controlplane.domain.money import nano
from controlplane.ports.meter import Meter
from controlplane.ports.provider import Provider
from controlplane.settings import Settings
from controlplane.state_folder import StartError, StateFolder
from controlplane.usecases.core import Policy

Factory = Callable[[str], Provider]
"""Makes a provider that acts under the given credential."""


def _vastai(settings: Settings, meter: Meter) -> Factory:
    def make(secret: str) -> Provider:
        disk_gb = Policy().default_disk_gb  # offers show what a machine with the disk of a plain wish will cost
        vast = VastaiSettings(
            api_key=secret, url=settings.vastai_url, spot=settings.vastai_spot, disk_gb=disk_gb,
            model_image=settings.vastai_model_image,
        )  # fmt: skip
        return VastaiProvider(vast, SystemClock(), meter)

    return make


def _tensordock(settings: Settings, meter: Meter) -> Factory:
    def make(secret: str) -> Provider:
        authorization_id, _, token = secret.rpartition(":")
        dock = TensordockSettings(api_token=token, authorization_id=authorization_id, url=settings.tensordock_url)
        return TensordockProvider(dock, SystemClock(), meter)

    return make


def _ionet(settings: Settings, meter: Meter) -> Factory:
    return lambda secret: IonetProvider(IonetSettings(api_key=secret, url=settings.ionet_url), SystemClock(), meter)


MARKETPLACES: Mapping[str, Callable[[Settings, Meter], Factory]] = {
    "vastai": _vastai,
    "tensordock": _tensordock,
    "ionet": _ionet,
}


def factories(settings: Settings, meter: Meter) -> dict[str, Factory]:
    """How to act at each marketplace under a credential: the deployment's, or one that an account brought."""
    return {name: build(settings, meter) for name, build in MARKETPLACES.items()}


def _credentials(settings: Settings) -> dict[str, str]:
    """The deployment's own, by provider; those that are set."""
    token = settings.tensordock_api_token.get_secret_value()
    if token and settings.tensordock_authorization_id:
        token = f"{settings.tensordock_authorization_id}:{token}"
    found = {
        "vastai": settings.vastai_api_key.get_secret_value(),
        "tensordock": token,
        "ionet": settings.ionet_api_key.get_secret_value(),
    }
    return {name: secret for name, secret in found.items() if secret}


def providers(
    settings: Settings, folder: StateFolder, host_id: str, made: Mapping[str, Factory]
) -> dict[str, Provider]:
    """The deployment's providers by name. Raises StartError for what the operator must mend."""
    found = [_local(settings, folder, host_id)] if settings.local else []
    found += [made[name](secret) for name, secret in _credentials(settings).items()]
    found += [_plugin(reference, settings) for reference in settings.plugins]
    names = [provider.name for provider in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise StartError(f"setting plugins: two providers are called {min(twice)!r}")
    return dict(zip(names, found, strict=True))


def _plugin(reference: str, settings: Settings) -> Provider:
    """The provider that a `module:factory` of the operator makes."""
    module, _, factory = reference.partition(":")
    try:
        made: Provider = getattr(importlib.import_module(module), factory)(settings)
        logs.get("replica").info("replica.plugin", plugin=reference, provider=made.name)
    except Exception as error:  # it is the operator's code: whatever it does, say which one it was
        raise StartError(f"setting plugins: {reference!r} made no provider: {error!r}") from error
    return made


def _local(settings: Settings, folder: StateFolder, host_id: str) -> Provider:
    from controlplane.adapters.providers.local import LocalProvider, LocalSettings

    local = LocalSettings(
        state_dir=folder.path / "local", host_id=host_id, ssh_bind=settings.local_ssh_bind,
        ssh_host=settings.local_ssh_host, simulated=settings.local_simulated,
        unsandboxed=settings.local_unsandboxed, cpu_price_nano_per_hour=nano(settings.local_cpu_price),
        max_machines=settings.local_max_machines, cpu_count=settings.local_cpu_count,
        memory_mb=settings.local_memory_mb,
    )  # fmt: skip
    return LocalProvider(local, SystemClock())
