"""Judging a launch and turning it into a sandbox."""

from __future__ import annotations

import asyncssh

from controlplane.adapters.providers.local import gpus
from controlplane.adapters.providers.local.gpus import GpuKind
from controlplane.adapters.providers.local.settings import LocalSettings
from controlplane.domain.instance import Wish
from controlplane.domain.offer import Offer
from controlplane.ports.provider import LaunchMode, LaunchSpec, Rejected, Stockout, TooDear
from controlplane.sandbox import names, runtime
from controlplane.sandbox.machines import Machines
from controlplane.sandbox.spec import Bounds, JupyterSpec, ModelSpec, SandboxSpec

_OWN_MODEL = "smollm2-135m-instruct"
_RESERVE_MB = 1024  # of the host's disk, never promised to machines

Refusal = Rejected | Stockout | TooDear


def refuse(spec: LaunchSpec, offer: Offer | None, settings: LocalSettings, machines: Machines) -> Refusal | None:
    """Why this launch cannot be, or None."""
    if reason := _mistake(spec, settings):
        return Rejected(reason)
    if offer is None:
        return Stockout(f"{spec.offer.id} is not offered by this host now")
    if offer.available < 1:
        return Stockout("this host is full")
    cap = spec.max_price_nano_per_hour
    if cap is not None and offer.price_nano_per_hour > cap:
        return TooDear(offer.price_nano_per_hour)
    if spec.mode is LaunchMode.MODEL and (reason := _model_mistake(spec, offer)):
        return Rejected(reason)
    return _disk_shortage(_disk_gb(spec, settings) << 10, offer, settings, machines)


def sandbox_spec(spec: LaunchSpec, offer: Offer, settings: LocalSettings, kinds: tuple[GpuKind, ...]) -> SandboxSpec:
    """The sandbox for a launch that was not refused."""
    indexes = _choose_gpus(offer, kinds)
    note: dict[str, str | int] = {"price_nano_per_hour": offer.price_nano_per_hour, "offer": offer.id}
    if indexes:
        note["gpus"] = ",".join(map(str, indexes))
    return SandboxSpec(
        label=spec.label,
        authorized_keys=spec.authorized_keys,
        probe_key=spec.probe_key,
        bounds=Bounds(
            cpu_count=settings.machine_cpus,
            memory_mb=settings.machine_memory_mb,
            disk_mb=_disk_gb(spec, settings) << 10,
            max_pids=settings.max_pids,
        ),
        env=spec.env,
        service=_service(spec),
        devices=gpus.devices(indexes),
        bind=settings.bind,
        note=note,
    )


def _service(spec: LaunchSpec) -> ModelSpec | JupyterSpec | None:
    if spec.mode is LaunchMode.MODEL:
        return ModelSpec(spec.model, spec.model_api_key)
    if spec.mode is LaunchMode.JUPYTER and runtime.has_jupyter():
        return JupyterSpec(spec.jupyter_token)
    return None  # without a usable Jupyter it is a machine with SSH only


def model_report() -> tuple[bool, str]:
    """For people: whether model launches work here, and how to make them."""
    return (True, "") if runtime.has_model() else (False, runtime.MODEL_INSTALL_LINE)


def jupyter_report() -> tuple[bool, str]:
    """For people: whether machines can run Jupyter here, and how to make them."""
    return (True, "") if runtime.has_jupyter() else (False, runtime.JUPYTER_INSTALL_LINE)


def _mistake(spec: LaunchSpec, settings: LocalSettings) -> str:
    if not names.is_label(spec.label):
        return "the label is not 1 to 60 characters of a-z, 0-9 and hyphen"
    if not 0 <= spec.disk_gb <= settings.max_disk_gb:
        return f"disk_gb must be from 0 to {settings.max_disk_gb} on this host, not {spec.disk_gb}"
    if any("\0" in text or "=" in name for name, value in spec.env.items() for text in (name, value)):
        return "an environment variable holds a zero byte or a name with ="
    for line in (*spec.authorized_keys, spec.probe_key):
        if not is_key(line):
            return "an authorized key is not one OpenSSH public key line"
    return refusal(spec)


def refusal(wish: Wish | LaunchSpec) -> str:
    """Why no local machine can be what is asked for; empty if one can."""
    serves = wish.mode == LaunchMode.MODEL
    unknown = ("on_start", "template", "image", "quantization") if serves else ("on_start", "template", "ports")
    if name := next((name for name in unknown if getattr(wish, name)), ""):
        return f"local machines {'that serve a model ' if serves else ''}know no {name}"
    if serves and len(wish.ports) > 1:
        return "local machines that serve a model open the port of its server only, which ports[0] may name"
    return "a model launch needs a model name" if serves and not wish.model else ""


def _disk_shortage(wanted_mb: int, offer: Offer, settings: LocalSettings, machines: Machines) -> Stockout | None:
    free_mb = machines.free_mb() - _RESERVE_MB
    if not settings.overcommit_disk:
        free_mb -= machines.promised_mb()
    if offer.simulated and settings.overcommit_disk:
        wanted_mb = 0  # pretend hardware comes with pretend space; only a full host is a reason
    if wanted_mb <= free_mb:
        return None
    return Stockout(f"this host has {max(0, free_mb >> 10)} GB of disk left to give")


def is_key(line: str) -> bool:
    """Whether it is one line of authorized_keys. Blocking: large keys take milliseconds."""
    if "\n" in line or "\r" in line or not line.strip():
        return False
    try:
        asyncssh.import_authorized_keys(line)
    except (ValueError, asyncssh.KeyImportError):
        return False
    return True


def _model_mistake(spec: LaunchSpec, offer: Offer) -> str:
    if not runtime.has_model():
        return f"this host has no model server; install it with: {runtime.MODEL_INSTALL_LINE}"
    if not spec.model_api_key:
        return "a model launch needs a key for its server"
    if spec.model.startswith("-") or "\0" in spec.model:
        return "the model name cannot be used on a command line"
    if not offer.simulated and _OWN_MODEL not in spec.model.lower():
        # On pretend hardware the small model stands in for any; on real hardware nobody gets another model
        # than asked.
        return f"this host serves only {_OWN_MODEL}"
    return ""


def _disk_gb(spec: LaunchSpec, settings: LocalSettings) -> int:
    return spec.disk_gb or settings.disk_gb


def _choose_gpus(offer: Offer, kinds: tuple[GpuKind, ...]) -> tuple[int, ...]:
    if offer.simulated or not offer.gpu_count:
        return ()
    return next((kind.free[: offer.gpu_count] for kind in kinds if kind.gpu_type == offer.gpu_type), ())
