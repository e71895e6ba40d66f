from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListUsageRequest(_message.Message):
    __slots__ = ("bucket", "group_by", "start", "end", "cursor", "limit")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    group_by: str
    start: str
    end: str
    cursor: str
    limit: int
    def __init__(self, bucket: _Optional[str] = ..., group_by: _Optional[str] = ..., start: _Optional[str] = ..., end: _Optional[str] = ..., cursor: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class UsageBucket(_message.Message):
    __slots__ = ("bucket_start", "gpu_seconds", "cost_cents", "instance_id", "gpu_type")
    BUCKET_START_FIELD_NUMBER: _ClassVar[int]
    GPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    COST_CENTS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    bucket_start: str
    gpu_seconds: float
    cost_cents: float
    instance_id: str
    gpu_type: str
    def __init__(self, bucket_start: _Optional[str] = ..., gpu_seconds: _Optional[float] = ..., cost_cents: _Optional[float] = ..., instance_id: _Optional[str] = ..., gpu_type: _Optional[str] = ...) -> None: ...

class UsagePage(_message.Message):
    __slots__ = ("data", "next_cursor")
    DATA_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    data: _containers.RepeatedCompositeFieldContainer[UsageBucket]
    next_cursor: _struct_pb2.Value
    def __init__(self, data: _Optional[_Iterable[_Union[UsageBucket, _Mapping]]] = ..., next_cursor: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ...) -> None: ...
