from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetCostsRequest(_message.Message):
    __slots__ = ("consumer_id", "session_id", "start_date", "end_date", "period")
    CONSUMER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    START_DATE_FIELD_NUMBER: _ClassVar[int]
    END_DATE_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    consumer_id: str
    session_id: str
    start_date: str
    end_date: str
    period: str
    def __init__(self, consumer_id: _Optional[str] = ..., session_id: _Optional[str] = ..., start_date: _Optional[str] = ..., end_date: _Optional[str] = ..., period: _Optional[str] = ...) -> None: ...

class GetCostSummaryRequest(_message.Message):
    __slots__ = ("consumer_id",)
    CONSUMER_ID_FIELD_NUMBER: _ClassVar[int]
    consumer_id: str
    def __init__(self, consumer_id: _Optional[str] = ...) -> None: ...

class Cost(_message.Message):
    __slots__ = ("session_id", "consumer_id", "total_cost", "currency", "session_count", "hours_used", "by_provider", "by_gpu_type", "period_start", "period_end")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CONSUMER_ID_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COST_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    SESSION_COUNT_FIELD_NUMBER: _ClassVar[int]
    HOURS_USED_FIELD_NUMBER: _ClassVar[int]
    BY_PROVIDER_FIELD_NUMBER: _ClassVar[int]
    BY_GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    PERIOD_START_FIELD_NUMBER: _ClassVar[int]
    PERIOD_END_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    consumer_id: str
    total_cost: float
    currency: str
    session_count: int
    hours_used: float
    by_provider: _struct_pb2.Struct
    by_gpu_type: _struct_pb2.Struct
    period_start: str
    period_end: str
    def __init__(self, session_id: _Optional[str] = ..., consumer_id: _Optional[str] = ..., total_cost: _Optional[float] = ..., currency: _Optional[str] = ..., session_count: _Optional[int] = ..., hours_used: _Optional[float] = ..., by_provider: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., by_gpu_type: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., period_start: _Optional[str] = ..., period_end: _Optional[str] = ...) -> None: ...
