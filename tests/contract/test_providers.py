"""One body over every provider: what the port promises, against real servers and real SSH."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from controlplane.adapters.prober import SshProber, probe_public_key
from controlplane.adapters.providers.ionet import IonetProvider, IonetSettings
from controlplane.adapters.providers.local import LocalProvider, LocalSettings
from controlplane.adapters.providers.tensordock import TensordockProvider, TensordockSettings
from controlplane.adapters.providers.vastai import VastaiProvider, VastaiSettings
from controlplane.domain.offer import Offer, Tier
from controlplane.ports.meter import NoMeter
from controlplane.ports.provider import (
    Ambiguous,
    Created,
    Destruction,
    LaunchSpec,
    Machine,
    MachineStatus,
    Provider,
    ProviderError,
    Stockout,
    TooDear,
)
from controlplane.simulators.catalogue import model
from controlplane.simulators.fake_machines import FakeMachines
from controlplane.simulators.marketplace import Marketplace
from controlplane.simulators.server import SimulatorServer

HASTE = 20.0
"""How much faster time goes for marketplaces and their adapters, rate limits and boots included."""
SEED, CALLER_KEY = b"p" * 32, probe_public_key(b"c" * 32)
PREFIX = "gp-contract-"
NAMES = ("local", "vastai", "tensordock", "ionet")


class HastyClock:
    """Both the plane's clock and the simulator's, in which a real second is many."""

    def __init__(self) -> None:
        self._began, self._real = time.time(), time.monotonic()

    def monotonic(self) -> float:
        return (time.monotonic() - self._real) * HASTE

    def now(self) -> int:
        return int((self._began + self.monotonic()) * 1_000_000)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / HASTE)


class SimulatorTime(HastyClock):
    """The same in the simulators' unit, seconds."""

    def now(self) -> float:  # type: ignore[override]
        return super().now() / 1_000_000


@dataclass
class Venue:
    """A provider, and the marketplace behind it; the local one has none."""

    provider: Provider
    market: Marketplace[Any] | None
    unknown: str  # the id of a machine that never was

    async def offer(self) -> Offer:
        """The cheapest on demand."""
        offers = [offer for offer in await self.provider.offers() if offer.tier is Tier.ON_DEMAND]
        return min(offers, key=lambda offer: (offer.price_nano_per_hour, offer.id))

    async def spec(self, **changes: Any) -> LaunchSpec:
        """An order of it, under a new label."""
        digits = uuid.uuid4().hex[:26].translate(str.maketrans("wxyz", "0123"))
        offer = await self.offer()
        spec = LaunchSpec(f"{PREFIX}{digits}-1", offer, (CALLER_KEY,), probe_public_key(SEED), min(40, offer.disk_gb))
        return replace(spec, **changes)

    async def launch(self, spec: LaunchSpec) -> Any:
        """In its turn, as the engine does it."""
        await self.provider.admit("launch")
        return await self.provider.launch(spec)

    async def end(self, machine_id: str) -> None:
        """Until the provider confirms that nothing is left."""
        await until(lambda: self._destroyed(machine_id))

    async def _destroyed(self, machine_id: str) -> bool:
        await self.provider.admit("destroy")
        return await self.provider.destroy(machine_id, grace_s=0) is not Destruction.PENDING


async def until(check: Callable[[], Awaitable[Any]], timeout_s: float = 20.0) -> Any:
    """The first true answer."""
    async with asyncio.timeout(timeout_s):
        while not (found := await check()):
            await asyncio.sleep(0.05)
        return found


def _local(folder: Path) -> Provider:
    settings = LocalSettings(
        folder, "host-1", cpu_count=1, memory_mb=256, max_pids=96, disk_gb=1, max_machines=1, unsandboxed=True
    )
    return LocalProvider(settings, HastyClock())


def _adapter(name: str, url: str) -> Provider:
    clock, meter = HastyClock(), NoMeter()
    if name == "vastai":
        return VastaiProvider(VastaiSettings(api_key="key", url=url), clock, meter)
    if name == "tensordock":
        return TensordockProvider(TensordockSettings(api_token="key", url=f"{url}/api/v2"), clock, meter)
    return IonetProvider(IonetSettings(api_key="key", url=url), clock, meter)


@pytest.fixture(params=NAMES)
async def venue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Venue]:
    name = request.param
    if name == "local":
        provider = _local(tmp_path)
        yield Venue(provider, None, f"{PREFIX}{'0' * 26}-1")
        for machine in (await provider.list("")).machines:
            await until(lambda id=machine.id: _gone(provider, id))  # type: ignore[misc]
        await provider.close()
        return
    market = model(name)(SimulatorTime(), seed=5, premises=FakeMachines())
    server = SimulatorServer(market)
    provider = _adapter(name, await server.start())
    unknown = "99999999" if name == "vastai" else str(uuid.uuid4())
    yield Venue(provider, market, unknown)
    await provider.close()
    await server.close()


async def _gone(provider: Provider, machine_id: str) -> bool:
    return await provider.destroy(machine_id, grace_s=0) is not Destruction.PENDING


async def test_offers_are_well_formed(venue: Venue) -> None:
    offers = await venue.provider.offers()
    assert offers
    assert len({offer.id for offer in offers}) == len(offers)
    for offer in offers:
        assert offer.provider == venue.provider.name
        assert offer.id.startswith(f"{offer.provider}-")
        assert len(offer.id) <= 128
        assert offer.price_nano_per_hour > 0
        assert offer.currency == "USD"
        assert offer.region in ("na", "eu", "apac", "")
        assert offer.available > 0
        assert (offer.gpu_count == 0) == (offer.gpu_type == "cpu")
        assert offer.gpu_count == 0 or offer.vram_gb > 0


async def test_a_machine_lives_and_ends(venue: Venue) -> None:
    provider, spec = venue.provider, await venue.spec()
    made = await venue.launch(spec)
    assert isinstance(made, Created), made
    machine = await until(lambda: _usable(provider, made.machine_id))
    assert (machine.id, machine.label) == (made.machine_id, spec.label)
    listing = await provider.list(PREFIX)
    assert listing.complete
    assert [found.id for found in listing.machines] == [made.machine_id]
    assert (await provider.list("gp-another-")).machines == ()
    await venue.end(made.machine_id)
    assert (await provider.describe(made.machine_id)).status is MachineStatus.GONE
    await venue.end(made.machine_id)
    await until(lambda: _unlisted(provider))


async def _usable(provider: Provider, machine_id: str) -> Machine | None:
    machine = await provider.describe(machine_id)
    if machine.status is not MachineStatus.RUNNING or machine.ssh is None:
        return None
    ways = (machine.ssh, *machine.ssh_also)
    answers = [(await SshProber().probe(way, SEED, 5.0)).ready for way in ways]
    return machine if any(answers) else None


async def test_a_key_that_is_added_to_a_running_machine_lets_in(venue: Venue) -> None:
    provider, key = venue.provider, asyncssh.generate_private_key("ssh-ed25519")
    line = key.export_public_key("openssh").decode().strip()
    made = await venue.launch(await venue.spec())
    machine = await until(lambda: _usable(provider, made.machine_id))
    if not provider.capabilities.add_keys:
        with pytest.raises(ProviderError):
            await provider.add_key(machine.id, line)
    else:
        assert not await _lets_in(machine, key)
        await provider.add_key(machine.id, line)
        await until(lambda: _lets_in(machine, key))
        await provider.add_key(machine.id, line)
        assert await _lets_in(machine, key)
        assert await _usable(provider, machine.id), "the plane's own key still works"
    await venue.end(machine.id)
    with pytest.raises(ProviderError):
        await provider.add_key(machine.id, line)


async def _lets_in(machine: Machine, key: asyncssh.SSHKey) -> bool:
    assert machine.ssh is not None
    options: dict[str, Any] = {"client_keys": [key], "known_hosts": None, "agent_path": None, "config": None}
    try:
        async with asyncssh.connect(machine.ssh.host, machine.ssh.port, username=machine.ssh.user, **options):
            return True
    except asyncssh.PermissionDenied:
        return False


async def _unlisted(provider: Provider) -> bool:
    return not (await provider.list(PREFIX)).machines


async def test_what_is_too_dear_is_not_bought(venue: Venue) -> None:
    spec = await venue.spec(max_price_nano_per_hour=1)
    outcome = await venue.launch(spec)
    assert isinstance(outcome, TooDear), outcome
    assert outcome.price_nano_per_hour > 1
    assert (await venue.provider.list(PREFIX)).machines == ()


async def test_an_offer_that_was_taken_is_a_stock_out(venue: Venue) -> None:
    first = await venue.spec()
    if venue.market is None:
        made = await venue.launch(first)
        assert isinstance(made, Created), made
    else:
        venue.market.configure({"queue": [{"endpoint": "create", "fault": "stockout"}]})
    outcome = await venue.launch(await venue.spec(offer=first.offer))
    assert isinstance(outcome, Stockout), outcome
    assert outcome.reason


async def test_a_machine_whose_answer_was_lost_is_found_by_its_label(venue: Venue) -> None:
    spec = await venue.spec()
    if venue.market is not None:
        venue.market.configure({"queue": [{"endpoint": "create", "fault": "lost_response"}]})
    outcome = await venue.launch(spec)
    assert isinstance(outcome, Ambiguous if venue.market is not None else Created), outcome
    listing = await venue.provider.list(spec.label)
    assert listing.complete
    (machine,) = listing.machines
    assert machine.label == spec.label
    assert machine.status is not MachineStatus.GONE
    await venue.end(machine.id)


async def test_a_list_that_was_cut_proves_no_absence(venue: Venue) -> None:
    if venue.market is None:
        assert (await venue.provider.list(PREFIX)).complete
        return
    made = await venue.launch(await venue.spec())
    assert isinstance(made, Created), made
    for fault in ("html_200", "empty_200"):
        venue.market.configure({fault: 1.0})
        assert not await _complete(venue.provider)
        venue.market.configure({fault: 0.0})
    await venue.end(made.machine_id)


async def _complete(provider: Provider) -> bool:
    try:
        return (await provider.list(PREFIX)).complete
    except ProviderError:
        return False


async def test_a_machine_that_never_was_is_gone(venue: Venue) -> None:
    """At once, or where new machines are hidden for a while, after that while."""

    async def gone() -> bool:
        status = (await venue.provider.describe(venue.unknown)).status
        assert status in (MachineStatus.GONE, MachineStatus.PROVISIONING)
        return status is MachineStatus.GONE

    await until(gone)
    await venue.end(venue.unknown)


async def test_capabilities_are_honest(venue: Venue) -> None:
    provider, can = venue.provider, venue.provider.capabilities
    tiers = {offer.tier for offer in await provider.offers()}
    assert (Tier.SPOT in tiers) == can.spot
    assert bool(await provider.templates()) == can.templates
    made = await venue.launch(await venue.spec())
    assert isinstance(made, Created), made
    if can.logs:
        assert isinstance(await provider.logs(made.machine_id, tail=10), str)
    else:
        with pytest.raises(ProviderError):
            await provider.logs(made.machine_id, tail=10)
    if can.extend:
        before = (await until(lambda: _paid(provider, made.machine_id))).paid_until
        await provider.extend(made.machine_id, 3600)
        await until(lambda: _paid(provider, made.machine_id, (before or 0) + 3_000_000_000))
    else:
        with pytest.raises(ProviderError):
            await provider.extend(made.machine_id, 3600)
    await venue.end(made.machine_id)


async def _paid(provider: Provider, machine_id: str, until_after: int = 0) -> Machine | None:
    machine = await provider.describe(machine_id)
    return machine if (machine.paid_until or 0) > until_after else None
