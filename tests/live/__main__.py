"""A look at a real marketplace under your own key: `make live PROVIDER=vastai`.

Asks for offers, templates and the listing, and spends nothing. `RENT=1` also rents the cheapest machine for a minute,
at no more than RENT_MAX dollars an hour (0.30 unless set), logs in, and returns it; whatever happens, the last thing it
does is to destroy what carries its label, and it says so if it could not. The key is read as the plane reads it:
GPUPLANE_VASTAI_API_KEY, GPUPLANE_TENSORDOCK_API_TOKEN or GPUPLANE_IONET_API_KEY.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from controlplane.adapters.prober import SshProber
from controlplane.bootstrap.providers import MARKETPLACES, factories, providers
from controlplane.domain import ids
from controlplane.domain.money import nano, text
from controlplane.domain.offer import Offer
from controlplane.ports.meter import NoMeter
from controlplane.ports.provider import (
    Created,
    Destruction,
    LaunchSpec,
    MachineStatus,
    Provider,
    ProviderError,
)
from controlplane.settings import Settings, SettingsError
from controlplane.state_folder import StateFolder

DEPLOYMENT = "live"
RETURN_S = 300.0


def opened(name: str) -> Provider:
    """The provider under the deployment's own credential. Raises SystemExit without one."""
    try:
        settings = Settings.load(local=False)
    except SettingsError as error:
        raise SystemExit(f"live: {error}") from None
    with tempfile.TemporaryDirectory() as folder:
        found = providers(settings, StateFolder(Path(folder)), "live", factories(settings, NoMeter()))
    if name not in found:
        variable = {"tensordock": "GPUPLANE_TENSORDOCK_API_TOKEN"}.get(name, f"GPUPLANE_{name.upper()}_API_KEY")
        raise SystemExit(f"live: {name} needs a key; set {variable}")
    return found[name]


async def look(provider: Provider) -> list[Offer]:
    """What the market has and what we have there; the offers, cheapest first."""
    offers = sorted(await provider.offers(), key=lambda offer: offer.price_nano_per_hour)
    print(f"{provider.name}: {len(offers)} offers")
    for gpu, count in Counter(offer.gpu_type for offer in offers).most_common(8):
        cheapest = next(offer for offer in offers if offer.gpu_type == gpu)
        print(f"  {count:5}  {gpu:<20} from {text(cheapest.price_nano_per_hour, cheapest.currency)} an hour")
    print(f"  {len(await provider.templates())} templates")
    listing = await provider.list(ids.label_prefix(DEPLOYMENT))
    print(f"  listing {'complete' if listing.complete else 'INCOMPLETE'}, {len(listing.machines)} machines of ours")
    return offers


async def rent(provider: Provider, offers: list[Offer]) -> None:
    """Rent the cheapest, log in, return it."""
    cap = nano(os.environ.get("RENT_MAX", "0.30"))
    prober, seed = SshProber(), os.urandom(32)
    public = prober.public_key(seed)
    label = f"{ids.label_prefix(DEPLOYMENT)}{os.urandom(13).hex()}-1"
    offer = next((offer for offer in offers if offer.price_nano_per_hour <= cap), None)
    if offer is None:
        raise SystemExit(f"live: no offer at {text(cap, 'USD')} an hour or less; set RENT_MAX")
    print(f"renting {offer.id} at {text(offer.price_nano_per_hour, offer.currency)} an hour as {label}")
    try:
        await provider.admit("launch")
        spec = LaunchSpec(label, offer, (public,), public, disk_gb=10, max_price_nano_per_hour=cap)
        outcome = await provider.launch(spec)
        print(f"  {outcome}")
        if isinstance(outcome, Created):
            await _use(provider, prober, seed, outcome.machine_id)
    finally:
        await _return(provider, label)


async def _use(provider: Provider, prober: SshProber, seed: bytes, machine_id: str) -> None:
    until = time.monotonic() + provider.capabilities.start_deadline_s
    seen = ""
    while time.monotonic() < until:
        machine = await provider.describe(machine_id)
        ways = [way for way in (machine.ssh, *machine.ssh_also) if way is not None]
        found = [await prober.probe(way, seed, 10.0) for way in ways]
        now = f"{machine.status}: {machine.message or '; '.join(result.reason for result in found)}"
        if any(result.ready for result in found):
            print("  logged in; keeping it for a minute")
            await asyncio.sleep(60)
            return
        if now != seen:
            print(f"  {now}")
            seen = now
        await asyncio.sleep(provider.capabilities.transition_poll_s)
    print("  it did not become usable in time")


async def _return(provider: Provider, label: str) -> None:
    """Destroy whatever carries the label until nothing does."""
    until, clean = time.monotonic() + RETURN_S, 0
    while time.monotonic() < until and clean < 2:
        try:
            listing = await provider.list(label)
            left = [m for m in listing.machines if m.label == label and m.status is not MachineStatus.GONE]
            for machine in left:
                await provider.admit("destroy")
                done = await provider.destroy(machine.id, grace_s=0)
                print(f"  destroy {machine.id}: {done}")
                clean = 0 if done is Destruction.PENDING else clean
            clean = clean + 1 if listing.complete and not left else 0
        except ProviderError as error:
            print(f"  {error}", file=sys.stderr)
        await asyncio.sleep(provider.capabilities.transition_poll_s)
    if clean < 2:
        raise SystemExit(f"live: machines labelled {label} may be left at {provider.name}: look there, they cost money")
    print("  nothing is left")


async def main(name: str) -> None:
    """Look, and rent if told to."""
    provider = opened(name)
    try:
        offers = await look(provider)
        if os.environ.get("RENT") == "1":
            await rent(provider, offers)
    except ProviderError as error:
        raise SystemExit(f"live: {error}") from None
    finally:
        await provider.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make live PROVIDER=", description=__doc__.split("\n")[0])
    parser.add_argument("provider", choices=sorted(MARKETPLACES))
    asyncio.run(main(parser.parse_args().provider))
