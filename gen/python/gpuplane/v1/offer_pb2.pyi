import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.type import money_pb2 as _money_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OfferFreshness(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OFFER_FRESHNESS_UNSPECIFIED: _ClassVar[OfferFreshness]
    OFFER_FRESHNESS_FRESH: _ClassVar[OfferFreshness]
    OFFER_FRESHNESS_AGING: _ClassVar[OfferFreshness]
    OFFER_FRESHNESS_STALE: _ClassVar[OfferFreshness]

class Tier(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIER_UNSPECIFIED: _ClassVar[Tier]
    TIER_ON_DEMAND: _ClassVar[Tier]
    TIER_SPOT: _ClassVar[Tier]
OFFER_FRESHNESS_UNSPECIFIED: OfferFreshness
OFFER_FRESHNESS_FRESH: OfferFreshness
OFFER_FRESHNESS_AGING: OfferFreshness
OFFER_FRESHNESS_STALE: OfferFreshness
TIER_UNSPECIFIED: Tier
TIER_ON_DEMAND: Tier
TIER_SPOT: Tier

class Offer(_message.Message):
    __slots__ = ("id", "provider", "gpu_type", "gpu_count", "vram_gb", "vendor", "architecture", "cpu_count", "memory_gb", "disk_gb", "region", "location", "tier", "price_per_hour", "reliability", "cuda_version", "available", "max_duration", "simulated", "seen_time", "confidence", "freshness", "vendor_host", "prepaid", "standby_price_per_hour")
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    VRAM_GB_FIELD_NUMBER: _ClassVar[int]
    VENDOR_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    CPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_GB_FIELD_NUMBER: _ClassVar[int]
    DISK_GB_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    RELIABILITY_FIELD_NUMBER: _ClassVar[int]
    CUDA_VERSION_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    MAX_DURATION_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    SEEN_TIME_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    VENDOR_HOST_FIELD_NUMBER: _ClassVar[int]
    PREPAID_FIELD_NUMBER: _ClassVar[int]
    STANDBY_PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    id: str
    provider: str
    gpu_type: str
    gpu_count: int
    vram_gb: int
    vendor: str
    architecture: str
    cpu_count: int
    memory_gb: int
    disk_gb: int
    region: str
    location: str
    tier: Tier
    price_per_hour: _money_pb2.Money
    reliability: float
    cuda_version: float
    available: int
    max_duration: _duration_pb2.Duration
    simulated: bool
    seen_time: _timestamp_pb2.Timestamp
    confidence: float
    freshness: OfferFreshness
    vendor_host: str
    prepaid: _duration_pb2.Duration
    standby_price_per_hour: _money_pb2.Money
    def __init__(self, id: _Optional[str] = ..., provider: _Optional[str] = ..., gpu_type: _Optional[str] = ..., gpu_count: _Optional[int] = ..., vram_gb: _Optional[int] = ..., vendor: _Optional[str] = ..., architecture: _Optional[str] = ..., cpu_count: _Optional[int] = ..., memory_gb: _Optional[int] = ..., disk_gb: _Optional[int] = ..., region: _Optional[str] = ..., location: _Optional[str] = ..., tier: _Optional[_Union[Tier, str]] = ..., price_per_hour: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., reliability: _Optional[float] = ..., cuda_version: _Optional[float] = ..., available: _Optional[int] = ..., max_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., simulated: _Optional[bool] = ..., seen_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., confidence: _Optional[float] = ..., freshness: _Optional[_Union[OfferFreshness, str]] = ..., vendor_host: _Optional[str] = ..., prepaid: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., standby_price_per_hour: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...

class GpuType(_message.Message):
    __slots__ = ("name", "slug", "vendor", "architecture", "vram_gb", "offer_count", "lowest_price_per_hour")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SLUG_FIELD_NUMBER: _ClassVar[int]
    VENDOR_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    VRAM_GB_FIELD_NUMBER: _ClassVar[int]
    CLASS_FIELD_NUMBER: _ClassVar[int]
    OFFER_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOWEST_PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    name: str
    slug: str
    vendor: str
    architecture: str
    vram_gb: int
    offer_count: int
    lowest_price_per_hour: _money_pb2.Money
    def __init__(self, name: _Optional[str] = ..., slug: _Optional[str] = ..., vendor: _Optional[str] = ..., architecture: _Optional[str] = ..., vram_gb: _Optional[int] = ..., offer_count: _Optional[int] = ..., lowest_price_per_hour: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., **kwargs) -> None: ...

class PriceSummary(_message.Message):
    __slots__ = ("gpu_type", "provider", "tier", "offer_count", "available", "lowest_price_per_hour", "median_price_per_hour", "highest_price_per_hour")
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    OFFER_COUNT_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    LOWEST_PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    MEDIAN_PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    gpu_type: str
    provider: str
    tier: Tier
    offer_count: int
    available: int
    lowest_price_per_hour: _money_pb2.Money
    median_price_per_hour: _money_pb2.Money
    highest_price_per_hour: _money_pb2.Money
    def __init__(self, gpu_type: _Optional[str] = ..., provider: _Optional[str] = ..., tier: _Optional[_Union[Tier, str]] = ..., offer_count: _Optional[int] = ..., available: _Optional[int] = ..., lowest_price_per_hour: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., median_price_per_hour: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., highest_price_per_hour: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...
