from google.api import annotations_pb2 as _annotations_pb2
from google.type import money_pb2 as _money_pb2
from gpuplane.v1 import offer_pb2 as _offer_pb2
from gpuplane.v1 import operation_pb2 as _operation_pb2
from gpuplane.v1 import template_pb2 as _template_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Requirements(_message.Message):
    __slots__ = ("gpu_types", "gpu_count", "min_vram_gb", "regions", "tier", "providers", "min_reliability", "min_cpu_count", "min_memory_gb", "min_cuda_version", "max_price_per_hour", "min_confidence", "vendors", "locations", "min_gpu_count")
    GPU_TYPES_FIELD_NUMBER: _ClassVar[int]
    GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    MIN_VRAM_GB_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    MIN_RELIABILITY_FIELD_NUMBER: _ClassVar[int]
    MIN_CPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    MIN_MEMORY_GB_FIELD_NUMBER: _ClassVar[int]
    MIN_CUDA_VERSION_FIELD_NUMBER: _ClassVar[int]
    MAX_PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    MIN_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    VENDORS_FIELD_NUMBER: _ClassVar[int]
    LOCATIONS_FIELD_NUMBER: _ClassVar[int]
    MIN_GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    gpu_types: _containers.RepeatedScalarFieldContainer[str]
    gpu_count: int
    min_vram_gb: int
    regions: _containers.RepeatedScalarFieldContainer[str]
    tier: _offer_pb2.Tier
    providers: _containers.RepeatedScalarFieldContainer[str]
    min_reliability: float
    min_cpu_count: int
    min_memory_gb: int
    min_cuda_version: float
    max_price_per_hour: _money_pb2.Money
    min_confidence: float
    vendors: _containers.RepeatedScalarFieldContainer[str]
    locations: _containers.RepeatedScalarFieldContainer[str]
    min_gpu_count: int
    def __init__(self, gpu_types: _Optional[_Iterable[str]] = ..., gpu_count: _Optional[int] = ..., min_vram_gb: _Optional[int] = ..., regions: _Optional[_Iterable[str]] = ..., tier: _Optional[_Union[_offer_pb2.Tier, str]] = ..., providers: _Optional[_Iterable[str]] = ..., min_reliability: _Optional[float] = ..., min_cpu_count: _Optional[int] = ..., min_memory_gb: _Optional[int] = ..., min_cuda_version: _Optional[float] = ..., max_price_per_hour: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., min_confidence: _Optional[float] = ..., vendors: _Optional[_Iterable[str]] = ..., locations: _Optional[_Iterable[str]] = ..., min_gpu_count: _Optional[int] = ...) -> None: ...

class ListOffersRequest(_message.Message):
    __slots__ = ("requirements", "page_size", "page_token", "order_by", "filter", "template_id")
    REQUIREMENTS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_ID_FIELD_NUMBER: _ClassVar[int]
    requirements: Requirements
    page_size: int
    page_token: str
    order_by: str
    filter: str
    template_id: str
    def __init__(self, requirements: _Optional[_Union[Requirements, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., order_by: _Optional[str] = ..., filter: _Optional[str] = ..., template_id: _Optional[str] = ...) -> None: ...

class ListOffersResponse(_message.Message):
    __slots__ = ("offers", "next_page_token", "total_size")
    OFFERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    offers: _containers.RepeatedCompositeFieldContainer[_offer_pb2.Offer]
    next_page_token: str
    total_size: int
    def __init__(self, offers: _Optional[_Iterable[_Union[_offer_pb2.Offer, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ...) -> None: ...

class GetOfferRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListGpuTypesRequest(_message.Message):
    __slots__ = ("vendor", "offered_only")
    VENDOR_FIELD_NUMBER: _ClassVar[int]
    OFFERED_ONLY_FIELD_NUMBER: _ClassVar[int]
    vendor: str
    offered_only: bool
    def __init__(self, vendor: _Optional[str] = ..., offered_only: _Optional[bool] = ...) -> None: ...

class ListGpuTypesResponse(_message.Message):
    __slots__ = ("gpu_types",)
    GPU_TYPES_FIELD_NUMBER: _ClassVar[int]
    gpu_types: _containers.RepeatedCompositeFieldContainer[_offer_pb2.GpuType]
    def __init__(self, gpu_types: _Optional[_Iterable[_Union[_offer_pb2.GpuType, _Mapping]]] = ...) -> None: ...

class ListPricesRequest(_message.Message):
    __slots__ = ("gpu_type", "provider")
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    gpu_type: str
    provider: str
    def __init__(self, gpu_type: _Optional[str] = ..., provider: _Optional[str] = ...) -> None: ...

class ListPricesResponse(_message.Message):
    __slots__ = ("prices",)
    PRICES_FIELD_NUMBER: _ClassVar[int]
    prices: _containers.RepeatedCompositeFieldContainer[_offer_pb2.PriceSummary]
    def __init__(self, prices: _Optional[_Iterable[_Union[_offer_pb2.PriceSummary, _Mapping]]] = ...) -> None: ...

class RankOffersRequest(_message.Message):
    __slots__ = ("requirements", "max_price_per_hour", "template_id", "page_size")
    REQUIREMENTS_FIELD_NUMBER: _ClassVar[int]
    MAX_PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    requirements: Requirements
    max_price_per_hour: _money_pb2.Money
    template_id: str
    page_size: int
    def __init__(self, requirements: _Optional[_Union[Requirements, _Mapping]] = ..., max_price_per_hour: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., template_id: _Optional[str] = ..., page_size: _Optional[int] = ...) -> None: ...

class RankOffersResponse(_message.Message):
    __slots__ = ("candidates", "skipped", "total_size")
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    candidates: _containers.RepeatedCompositeFieldContainer[OfferCandidate]
    skipped: _containers.RepeatedCompositeFieldContainer[_operation_pb2.SkippedOffers]
    total_size: int
    def __init__(self, candidates: _Optional[_Iterable[_Union[OfferCandidate, _Mapping]]] = ..., skipped: _Optional[_Iterable[_Union[_operation_pb2.SkippedOffers, _Mapping]]] = ..., total_size: _Optional[int] = ...) -> None: ...

class OfferCandidate(_message.Message):
    __slots__ = ("offer", "expected_price_per_hour")
    OFFER_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    offer: _offer_pb2.Offer
    expected_price_per_hour: _money_pb2.Money
    def __init__(self, offer: _Optional[_Union[_offer_pb2.Offer, _Mapping]] = ..., expected_price_per_hour: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...

class ListTemplatesRequest(_message.Message):
    __slots__ = ("provider", "name", "recommended_only", "page_size", "page_token")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDED_ONLY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    provider: str
    name: str
    recommended_only: bool
    page_size: int
    page_token: str
    def __init__(self, provider: _Optional[str] = ..., name: _Optional[str] = ..., recommended_only: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTemplatesResponse(_message.Message):
    __slots__ = ("templates", "next_page_token", "total_size")
    TEMPLATES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    templates: _containers.RepeatedCompositeFieldContainer[_template_pb2.Template]
    next_page_token: str
    total_size: int
    def __init__(self, templates: _Optional[_Iterable[_Union[_template_pb2.Template, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ...) -> None: ...

class GetTemplateRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListCompatibleTemplatesRequest(_message.Message):
    __slots__ = ("offer_id", "page_size", "page_token")
    OFFER_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    offer_id: str
    page_size: int
    page_token: str
    def __init__(self, offer_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListCompatibleTemplatesResponse(_message.Message):
    __slots__ = ("templates", "next_page_token", "total_size")
    TEMPLATES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    templates: _containers.RepeatedCompositeFieldContainer[_template_pb2.Template]
    next_page_token: str
    total_size: int
    def __init__(self, templates: _Optional[_Iterable[_Union[_template_pb2.Template, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ...) -> None: ...
