from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListOffersRequest(_message.Message):
    __slots__ = ("provider", "gpu_type", "location", "min_vram", "max_price", "min_gpu_count", "gpu_count", "min_reliability", "min_availability_confidence", "min_cuda", "template_hash_id", "limit", "offset")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    MIN_VRAM_FIELD_NUMBER: _ClassVar[int]
    MAX_PRICE_FIELD_NUMBER: _ClassVar[int]
    MIN_GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    MIN_RELIABILITY_FIELD_NUMBER: _ClassVar[int]
    MIN_AVAILABILITY_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    MIN_CUDA_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_HASH_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    provider: str
    gpu_type: str
    location: str
    min_vram: str
    max_price: str
    min_gpu_count: str
    gpu_count: str
    min_reliability: str
    min_availability_confidence: str
    min_cuda: str
    template_hash_id: str
    limit: str
    offset: str
    def __init__(self, provider: _Optional[str] = ..., gpu_type: _Optional[str] = ..., location: _Optional[str] = ..., min_vram: _Optional[str] = ..., max_price: _Optional[str] = ..., min_gpu_count: _Optional[str] = ..., gpu_count: _Optional[str] = ..., min_reliability: _Optional[str] = ..., min_availability_confidence: _Optional[str] = ..., min_cuda: _Optional[str] = ..., template_hash_id: _Optional[str] = ..., limit: _Optional[str] = ..., offset: _Optional[str] = ...) -> None: ...

class Offer(_message.Message):
    __slots__ = ("id", "provider", "provider_id", "gpu_type", "gpu_count", "vram_gb", "price_per_hour", "location", "reliability", "available", "max_duration_hours", "fetched_at", "availability_confidence", "cuda_version", "simulated")
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    VRAM_GB_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    RELIABILITY_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    MAX_DURATION_HOURS_FIELD_NUMBER: _ClassVar[int]
    FETCHED_AT_FIELD_NUMBER: _ClassVar[int]
    AVAILABILITY_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    CUDA_VERSION_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    id: str
    provider: str
    provider_id: str
    gpu_type: str
    gpu_count: int
    vram_gb: int
    price_per_hour: float
    location: str
    reliability: float
    available: bool
    max_duration_hours: int
    fetched_at: str
    availability_confidence: float
    cuda_version: float
    simulated: bool
    def __init__(self, id: _Optional[str] = ..., provider: _Optional[str] = ..., provider_id: _Optional[str] = ..., gpu_type: _Optional[str] = ..., gpu_count: _Optional[int] = ..., vram_gb: _Optional[int] = ..., price_per_hour: _Optional[float] = ..., location: _Optional[str] = ..., reliability: _Optional[float] = ..., available: _Optional[bool] = ..., max_duration_hours: _Optional[int] = ..., fetched_at: _Optional[str] = ..., availability_confidence: _Optional[float] = ..., cuda_version: _Optional[float] = ..., simulated: _Optional[bool] = ...) -> None: ...

class OfferPage(_message.Message):
    __slots__ = ("offers", "count", "total")
    OFFERS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    offers: _containers.RepeatedCompositeFieldContainer[Offer]
    count: int
    total: int
    def __init__(self, offers: _Optional[_Iterable[_Union[Offer, _Mapping]]] = ..., count: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class GetOfferRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListCompatibleTemplatesRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class CompatibleTemplate(_message.Message):
    __slots__ = ("hash_id", "name", "image", "recommended_disk_space")
    HASH_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDED_DISK_SPACE_FIELD_NUMBER: _ClassVar[int]
    hash_id: str
    name: str
    image: str
    recommended_disk_space: int
    def __init__(self, hash_id: _Optional[str] = ..., name: _Optional[str] = ..., image: _Optional[str] = ..., recommended_disk_space: _Optional[int] = ...) -> None: ...

class CompatibleTemplates(_message.Message):
    __slots__ = ("offer_id", "compatible_templates", "count", "gpu_type", "vram_gb", "provider", "note")
    OFFER_ID_FIELD_NUMBER: _ClassVar[int]
    COMPATIBLE_TEMPLATES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    VRAM_GB_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    offer_id: str
    compatible_templates: _containers.RepeatedCompositeFieldContainer[CompatibleTemplate]
    count: int
    gpu_type: str
    vram_gb: int
    provider: str
    note: str
    def __init__(self, offer_id: _Optional[str] = ..., compatible_templates: _Optional[_Iterable[_Union[CompatibleTemplate, _Mapping]]] = ..., count: _Optional[int] = ..., gpu_type: _Optional[str] = ..., vram_gb: _Optional[int] = ..., provider: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class ListOfferHealthRequest(_message.Message):
    __slots__ = ("provider", "gpu_type")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    provider: str
    gpu_type: str
    def __init__(self, provider: _Optional[str] = ..., gpu_type: _Optional[str] = ...) -> None: ...

class OfferHealth(_message.Message):
    __slots__ = ("offer_id", "provider", "gpu_type", "recent_failures", "is_suppressed", "suppressed_until", "confidence_multiplier", "last_failure", "last_failure_type")
    OFFER_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    RECENT_FAILURES_FIELD_NUMBER: _ClassVar[int]
    IS_SUPPRESSED_FIELD_NUMBER: _ClassVar[int]
    SUPPRESSED_UNTIL_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_TYPE_FIELD_NUMBER: _ClassVar[int]
    offer_id: str
    provider: str
    gpu_type: str
    recent_failures: int
    is_suppressed: bool
    suppressed_until: str
    confidence_multiplier: float
    last_failure: str
    last_failure_type: str
    def __init__(self, offer_id: _Optional[str] = ..., provider: _Optional[str] = ..., gpu_type: _Optional[str] = ..., recent_failures: _Optional[int] = ..., is_suppressed: _Optional[bool] = ..., suppressed_until: _Optional[str] = ..., confidence_multiplier: _Optional[float] = ..., last_failure: _Optional[str] = ..., last_failure_type: _Optional[str] = ...) -> None: ...

class GpuTypeHealth(_message.Message):
    __slots__ = ("gpu_type_key", "failed_offer_count", "is_degraded", "degradation_applied")
    GPU_TYPE_KEY_FIELD_NUMBER: _ClassVar[int]
    FAILED_OFFER_COUNT_FIELD_NUMBER: _ClassVar[int]
    IS_DEGRADED_FIELD_NUMBER: _ClassVar[int]
    DEGRADATION_APPLIED_FIELD_NUMBER: _ClassVar[int]
    gpu_type_key: str
    failed_offer_count: int
    is_degraded: bool
    degradation_applied: float
    def __init__(self, gpu_type_key: _Optional[str] = ..., failed_offer_count: _Optional[int] = ..., is_degraded: _Optional[bool] = ..., degradation_applied: _Optional[float] = ...) -> None: ...

class OfferHealthList(_message.Message):
    __slots__ = ("offers", "gpu_types", "count")
    OFFERS_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    offers: _containers.RepeatedCompositeFieldContainer[OfferHealth]
    gpu_types: _containers.RepeatedCompositeFieldContainer[GpuTypeHealth]
    count: int
    def __init__(self, offers: _Optional[_Iterable[_Union[OfferHealth, _Mapping]]] = ..., gpu_types: _Optional[_Iterable[_Union[GpuTypeHealth, _Mapping]]] = ..., count: _Optional[int] = ...) -> None: ...
