from google.api import annotations_pb2 as _annotations_pb2
from google.api import httpbody_pb2 as _httpbody_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListGpuTypesRequest(_message.Message):
    __slots__ = ("cursor", "limit")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    limit: int
    def __init__(self, cursor: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class GpuType(_message.Message):
    __slots__ = ("gpu_type", "vram_gb", "architecture")
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    VRAM_GB_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    gpu_type: str
    vram_gb: int
    architecture: str
    def __init__(self, gpu_type: _Optional[str] = ..., vram_gb: _Optional[int] = ..., architecture: _Optional[str] = ...) -> None: ...

class GpuTypePage(_message.Message):
    __slots__ = ("data", "next_cursor")
    DATA_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    data: _containers.RepeatedCompositeFieldContainer[GpuType]
    next_cursor: _struct_pb2.Value
    def __init__(self, data: _Optional[_Iterable[_Union[GpuType, _Mapping]]] = ..., next_cursor: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ...) -> None: ...

class ListPricingRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Pricing(_message.Message):
    __slots__ = ("gpu_type", "region", "tier", "price_per_hour", "available", "gpu_count", "community", "instant_boot")
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMMUNITY_FIELD_NUMBER: _ClassVar[int]
    INSTANT_BOOT_FIELD_NUMBER: _ClassVar[int]
    gpu_type: str
    region: str
    tier: str
    price_per_hour: float
    available: int
    gpu_count: int
    community: bool
    instant_boot: bool
    def __init__(self, gpu_type: _Optional[str] = ..., region: _Optional[str] = ..., tier: _Optional[str] = ..., price_per_hour: _Optional[float] = ..., available: _Optional[int] = ..., gpu_count: _Optional[int] = ..., community: _Optional[bool] = ..., instant_boot: _Optional[bool] = ...) -> None: ...

class PricingPage(_message.Message):
    __slots__ = ("data", "next_cursor")
    DATA_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    data: _containers.RepeatedCompositeFieldContainer[Pricing]
    next_cursor: _struct_pb2.Value
    def __init__(self, data: _Optional[_Iterable[_Union[Pricing, _Mapping]]] = ..., next_cursor: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ...) -> None: ...

class GetHealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Health(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: str
    def __init__(self, status: _Optional[str] = ...) -> None: ...

class GetOpenApiRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
