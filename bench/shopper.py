"""The shopper's inventory beside the canonical list of the same offers, page by page, 10,000 offers in the book.

    python -m bench.shopper --rounds 3
    python -m bench.shopper up ...     # `gpuplane up` whose one provider offers that many

Both are asked for the same filters, pages and page size, and must answer with the same offers in the same order. Both
are called over gRPC at the server's own socket: Envoy's part, which turns JSON into protobuf for both, is left out.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpuplane.dialects.shopper.v1 import inventory_pb2 as pb
from gpuplane.v1 import offer_service_pb2 as offers_pb

from bench import calls, inventory, planes, report
from bench.processes import SERVER_CORE, WORK, pin, until
from controlplane.domain.gpus import GPUS

OFFERS, FILTERS = 10_000, 100
LIST, INVENTORY = inventory.LIST, "/gpuplane.dialects.shopper.v1.Inventory/ListOffers"


Conditions = tuple[str, dict[str, str]]
"""A filter in canonical words, and as query parameters of the inventory."""


@dataclass(frozen=True)
class Walk:
    """Lists that are walked through: their conditions, the size of a page, the most pages of a list, and how many calls
    a round takes."""

    name: str
    conditions: Sequence[Conditions]
    size: int
    pages: int
    calls: int


def walks() -> tuple[Walk, ...]:
    """Many small pages of what somebody looks for, and large pages of all that can be had on demand."""
    return Walk("filtered, 50 a page", filters(), 50, 3, 3000), Walk("all, 1,000 a page", [("", {})], 1000, 10, 1000)


def filters() -> list[Conditions]:
    """The same conditions in the words of both, three to five of them, no two alike."""
    rng = random.Random(7)
    return [rng.choice((_by_gpu, _by_memory, _by_count))(rng, f"{rng.randrange(4, 20)}.{n:03}") for n in range(FILTERS)]


def _by_gpu(rng: random.Random, price: str) -> Conditions:
    gpu, sure = rng.choice(GPUS).name, f"0.{rng.randrange(1, 90):02}"
    canonical = f'gpu_type = "{gpu}" AND price_per_hour <= {price} AND reliability >= {sure}'
    return canonical, {"gpu_type": gpu, "max_price": price, "min_reliability": sure}


def _by_memory(rng: random.Random, price: str) -> Conditions:
    least, place = rng.choice(("16", "24", "48")), rng.choice(("Oslo", "FR", "Austin, US"))
    canonical = f'vram_gb >= {least} AND location:"{place}" AND price_per_hour <= {price}'
    return canonical, {"min_vram": least, "location": place, "max_price": price}


def _by_count(rng: random.Random, price: str) -> Conditions:
    count = rng.choice(("1", "2", "4"))
    canonical = f"gpu_count >= {count} AND cuda_version >= 12.2 AND price_per_hour <= {price} AND provider = local"
    return canonical, {"min_gpu_count": count, "min_cuda": "12.2", "max_price": price, "provider": "local"}


@dataclass(frozen=True)
class Target:
    """A server, and the keys of both APIs."""

    socket: str
    key: str
    shopper_key: str

    def listed(self, request: bytes) -> Any:
        """The canonical answer."""
        return offers_pb.ListOffersResponse.FromString(calls.ask(self.socket, LIST, self.key, request))

    def shown(self, request: bytes) -> Any:
        """The inventory's."""
        return pb.OfferPage.FromString(calls.ask(self.socket, INVENTORY, self.shopper_key, request))

    def cases(self, walk: Walk, pids: list[int]) -> list[calls.Case]:
        """Both lists of a walk."""
        requests = self._requests(walk)
        base = f"ListOffers, {walk.name}"
        return [
            calls.Case(name, base, inventory.load(self.socket, path, key, each), pids, walk.calls)
            for name, path, key, each in (
                (base, LIST, self.key, [canonical for canonical, _ in requests]),
                (f"GET /api/v1/inventory, {walk.name}", INVENTORY, self.shopper_key, [other for _, other in requests]),
            )
        ]

    def _requests(self, walk: Walk) -> list[tuple[bytes, bytes]]:
        """Every page of a walk in both words, each tried with a real client."""
        found = []
        for text, query in walk.conditions:
            token, where = "", f"{text} AND tier = on_demand" if text else "tier = on_demand"
            for number in range(walk.pages):
                one = offers_pb.ListOffersRequest(filter=where, page_size=walk.size, page_token=token)
                other = pb.ListOffersRequest(**query, limit=str(walk.size), offset=str(number * walk.size))
                found.append((one.SerializeToString(), other.SerializeToString()))
                listed, shown = self.listed(found[-1][0]), self.shown(found[-1][1])
                assert shown.total == listed.total_size, where
                assert [offer.id for offer in shown.offers] == [offer.id for offer in listed.offers], where
                token = listed.next_page_token
                if not token:
                    break
        return found


def measure(rounds: int) -> list[dict[str, Any]]:
    """Both lists, in turn; medians."""
    shutil.rmtree(WORK / "plane-shopper", ignore_errors=True)
    url = f"sqlite:///{WORK / 'plane-shopper' / 'gpuplane.db'}"
    with planes.plane("shopper", url, module="bench.shopper") as plane:
        pin(plane.servers, [SERVER_CORE])
        target = Target(f"unix:{plane.sockets[0]}", plane.key, plane.key_of("shopper"))
        until(lambda: target.listed(b"").total_size == OFFERS, 60, "the offers")
        cases = [case for walk in walks() for case in target.cases(walk, plane.servers)]
        for number in range(rounds):
            for case in cases:
                case.measure()
            print(f"shopper: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return calls.table(cases)


def main() -> None:
    """Be `gpuplane up`, or measure and print."""
    if sys.argv[1:2] == ["up"]:
        inventory.up(sys.argv[2:], OFFERS)
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    print(report.shopper_table(measure(parser.parse_args().rounds)))


if __name__ == "__main__":
    main()
