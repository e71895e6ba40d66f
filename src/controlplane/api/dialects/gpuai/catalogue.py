"""gpuplane.dialects.gpuai.v1.Catalogue: what needs no key."""

from __future__ import annotations

import json
from bisect import bisect_right
from importlib import resources

from google.api.httpbody_pb2 import HttpBody
from gpuplane.dialects.gpuai.v1 import catalogue_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.dialects.gpuai.hardware import CPU, gpu_count, gpu_word, region_word
from controlplane.api.dialects.gpuai.translate import limit_of, next_cursor
from controlplane.api.plane import DEFAULT_CURRENCY, Plane
from controlplane.domain.gpus import gpu
from controlplane.domain.money import NANO
from controlplane.domain.offer import Offer

_QUERY = "gpuai gpu types"
_INT32 = 2**31 - 1


def _document() -> bytes:
    """The seed's document, served from here: a relative server is resolved against the document's own address, and
    so is right on every port and behind every proxy."""
    document = json.loads(resources.files(__package__).joinpath("openapi.json").read_text())
    document["servers"] = [{"url": "/v1", "description": "This control plane"}]
    return json.dumps(document).encode()


class Catalogue:
    """Shows what can be rented, in dollars: nobody says in which account's currency."""

    service = "gpuplane.dialects.gpuai.v1.Catalogue"

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._document = _document()

    async def list_gpu_types(self, request: pb.ListGpuTypesRequest, _call: Call) -> pb.GpuTypePage:
        size = limit_of(request.limit if request.HasField("limit") else None)
        types = sorted({gpu_word(offer.gpu_type): offer for offer in self._offers()}.items())
        tokens = self._plane.tokens
        after = tokens.read_page(request.cursor, _QUERY)[0] if request.cursor else ""
        first = bisect_right(types, after, key=lambda entry: entry[0])
        shown, more = types[first : first + size], first + size < len(types)
        return pb.GpuTypePage(
            data=[_gpu_type(word, offer) for word, offer in shown],
            next_cursor=next_cursor(tokens.page(_QUERY, shown[-1][0]) if more else ""),
        )

    async def list_pricing(self, _request: pb.ListPricingRequest, _call: Call) -> pb.PricingPage:
        kinds: dict[tuple[str, int, str, str], list[Offer]] = {}
        for offer in self._offers():
            kind = (
                gpu_word(offer.gpu_type), gpu_count(offer.gpu_count), region_word(offer.region, offer.provider),
                offer.tier.value,
            )  # fmt: skip
            kinds.setdefault(kind, []).append(offer)
        return pb.PricingPage(
            data=[
                pb.Pricing(
                    gpu_type=word,
                    gpu_count=count,
                    region=region,
                    tier=tier,
                    price_per_hour=min(offer.price_nano_per_hour for offer in offers) / NANO,
                    available=min(_INT32, sum(offer.available for offer in offers)),
                )
                for (word, count, region, tier), offers in sorted(kinds.items())
            ],
            next_cursor=next_cursor(""),
        )

    def _offers(self) -> list[Offer]:
        return [offer for offer in self._plane.core.offers if offer.currency == DEFAULT_CURRENCY]

    async def get_health(self, _request: pb.GetHealthRequest, _call: Call) -> pb.Health:
        return pb.Health(status="ok")

    async def get_open_api(self, _request: pb.GetOpenApiRequest, _call: Call) -> HttpBody:
        return HttpBody(content_type="application/json", data=self._document)


def _gpu_type(word: str, offer: Offer) -> pb.GpuType:
    known = gpu(offer.gpu_type)
    vram_gb = 0 if word == CPU else known.vram_gb if known else offer.vram_gb
    return pb.GpuType(gpu_type=word, vram_gb=vram_gb, architecture=known.architecture if known else None)
