"""The offer book with 100,000 offers: a filtered first page beside a Get, by one client, each call with its own filter.

    python -m bench.inventory --rounds 3
    python -m bench.inventory up ...     # `gpuplane up` whose one provider offers that many

Every page comes with the total, so that each call looks at every offer.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
from gpuplane.v1 import instance_pb2
from gpuplane.v1 import instance_service_pb2 as instances_pb
from gpuplane.v1 import offer_service_pb2 as offers_pb

from bench import calls, planes, report
from bench.processes import SERVER_CORE, WORK, pin, until
from controlplane.domain.gpus import GPUS
from controlplane.domain.offer import Offer, Tier

OFFERS, FILTERS, IN_FLIGHT, CALLS = 100_000, 500, 32, 4000
GET, LIST = "/gpuplane.v1.Instances/GetInstance", "/gpuplane.v1.Offers/ListOffers"
CITIES = ("Oslo, NO", "Paris, FR", "Berlin, DE", "Austin, US", "Dallas, US", "Osaka, JP", "Pune, IN", "Lyon, FR")


def market(count: int) -> tuple[Offer, ...]:
    """Offers that differ in everything that filters look at; the same in every run."""
    rng = random.Random(5)
    return (planes.OFFER, *(_offer(number, rng) for number in range(count - 1)))


def _offer(number: int, rng: random.Random) -> Offer:
    gpu = rng.choice(GPUS)
    return replace(
        planes.OFFER, id=f"local-{number}", gpu_type=gpu.name, vram_gb=gpu.vram_gb, gpu_count=rng.choice((1, 2, 4, 8)),
        cpu_count=rng.choice((8, 16, 32, 64)), memory_gb=rng.choice((64, 128, 256, 512)),
        region=rng.choice(("na", "eu")), location=rng.choice(CITIES), tier=rng.choice(list(Tier)),
        reliability=rng.random(), price_nano_per_hour=rng.randrange(10**7, 2 * 10**10),
        cuda_version=rng.choice((11.8, 12.2, 12.8, None)), vendor_host=str(rng.randrange(20_000)),
        available=rng.randrange(1, 4),
    )  # fmt: skip


def filters(count: int) -> list[str]:
    """Filters of three to five conditions, no two alike."""
    rng = random.Random(7)
    return [
        rng.choice((
            f'gpu_type = "{rng.choice(GPUS).name}" AND price_per_hour < {price} AND '
            f"reliability >= 0.{rng.randrange(90)}",
            f"vram_gb >= {rng.choice((16, 24, 48))} AND (region = eu OR region = na) AND price_per_hour <= {price}",
            f"vendor = nvidia AND gpu_count = {rng.choice((1, 2, 4))} AND cuda_version >= 12.2 AND "
            f"location:{rng.choice(('us', 'fr', 'oslo'))} AND price_per_hour > {price}",
        ))
        for price in (f"{rng.randrange(1, 20)}.{number:03}" for number in range(count))
    ]  # fmt: skip


def load(target: str, path: str, key: str, requests: list[bytes]) -> Callable[[int], float]:
    """Calls by a client of this process, one request after another."""

    async def run(n: int) -> float:
        metadata, left = (("authorization", f"Bearer {key}"),), iter(range(n))
        async with grpc.aio.insecure_channel(target) as channel:
            call = channel.unary_unary(path)

            async def worker() -> None:
                for number in left:
                    await call(requests[number % len(requests)], timeout=10, metadata=metadata)

            began = asyncio.get_running_loop().time()
            await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
            return asyncio.get_running_loop().time() - began

    return lambda n: asyncio.run(run(n))


def measure(rounds: int) -> list[dict[str, Any]]:
    """Both calls on SQLite, in turn; medians."""
    shutil.rmtree(WORK / "plane-inventory", ignore_errors=True)
    url = f"sqlite:///{WORK / 'plane-inventory' / 'gpuplane.db'}"
    with planes.plane("inventory", url, 1000, module="bench.inventory") as plane:
        pin(plane.servers, [SERVER_CORE])
        socket, key, id = f"unix:{plane.sockets[0]}", plane.key, plane.ids[500]
        get = instances_pb.GetInstanceRequest(id=id).SerializeToString()
        assert instance_pb2.Instance.FromString(calls.ask(socket, GET, key, get)).id == id
        everything = offers_pb.ListOffersRequest().SerializeToString()

        def total() -> int:
            return offers_pb.ListOffersResponse.FromString(calls.ask(socket, LIST, key, everything)).total_size

        until(lambda: total() == OFFERS, 60, "the offers")
        pages = [offers_pb.ListOffersRequest(filter=each).SerializeToString() for each in filters(FILTERS)]
        cases = [
            calls.Case("Get", "Get", load(socket, GET, key, [get]), plane.servers, CALLS),
            calls.Case("ListOffers, filtered", "Get", load(socket, LIST, key, pages), plane.servers, CALLS),
        ]
        for number in range(rounds):
            for case in cases:
                case.measure()
            print(f"inventory: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return calls.table(cases)


def up(arguments: list[str], count: int) -> None:
    """Be `gpuplane up` with so many offers."""
    os.environ["GPUPLANE_OFFERS_INTERVAL"] = "3600"  # what a refresh costs is no part of what a call costs
    offers = market(count)

    async def shown(self: planes.Shelf) -> tuple[Offer, ...]:
        return offers

    type.__setattr__(planes.Shelf, "offers", shown)
    planes.up(arguments)


def main() -> None:
    """Be `gpuplane up`, or measure and print."""
    if sys.argv[1:2] == ["up"]:
        up(sys.argv[2:], OFFERS)
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    print(report.inventory_table(measure(parser.parse_args().rounds)))


if __name__ == "__main__":
    main()
