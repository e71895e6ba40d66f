from google.api import annotations_pb2 as _annotations_pb2
from google.type import money_pb2 as _money_pb2
from gpuplane.v1 import offer_pb2 as _offer_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Requirements(_message.Message):
    __slots__ = ("gpu_types", "gpu_count", "min_vram_gb", "regions", "tier", "providers", "min_reliability", "min_cpu_count", "min_memory_gb", "min_cuda_version", "max_price_per_hour")
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
    def __init__(self, gpu_types: _Optional[_Iterable[str]] = ..., gpu_count: _Optional[int] = ..., min_vram_gb: _Optional[int] = ..., regions: _Optional[_Iterable[str]] = ..., tier: _Optional[_Union[_offer_pb2.Tier, str]] = ..., providers: _Optional[_Iterable[str]] = ..., min_reliability: _Optional[float] = ..., min_cpu_count: _Optional[int] = ..., min_memory_gb: _Optional[int] = ..., min_cuda_version: _Optional[float] = ..., max_price_per_hour: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...

class ListOffersRequest(_message.Message):
    __slots__ = ("requirements", "page_size", "page_token", "order_by")
    REQUIREMENTS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    requirements: Requirements
    page_size: int
    page_token: str
    order_by: str
    def __init__(self, requirements: _Optional[_Union[Requirements, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., order_by: _Optional[str] = ...) -> None: ...

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
