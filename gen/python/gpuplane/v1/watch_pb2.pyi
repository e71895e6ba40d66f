import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.type import money_pb2 as _money_pb2
from gpuplane.v1 import instance_pb2 as _instance_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InstanceEventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INSTANCE_EVENT_TYPE_UNSPECIFIED: _ClassVar[InstanceEventType]
    INSTANCE_EVENT_TYPE_SNAPSHOT: _ClassVar[InstanceEventType]
    INSTANCE_EVENT_TYPE_CREATED: _ClassVar[InstanceEventType]
    INSTANCE_EVENT_TYPE_CHANGED: _ClassVar[InstanceEventType]
    INSTANCE_EVENT_TYPE_BOOKMARK: _ClassVar[InstanceEventType]
    INSTANCE_EVENT_TYPE_BUDGET_ALERT: _ClassVar[InstanceEventType]
    INSTANCE_EVENT_TYPE_END: _ClassVar[InstanceEventType]

class StreamEndReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STREAM_END_REASON_UNSPECIFIED: _ClassVar[StreamEndReason]
    STREAM_END_REASON_DONE: _ClassVar[StreamEndReason]
    STREAM_END_REASON_SERVER_STOPPING: _ClassVar[StreamEndReason]
    STREAM_END_REASON_KEY_REVOKED: _ClassVar[StreamEndReason]
    STREAM_END_REASON_RESYNC: _ClassVar[StreamEndReason]
INSTANCE_EVENT_TYPE_UNSPECIFIED: InstanceEventType
INSTANCE_EVENT_TYPE_SNAPSHOT: InstanceEventType
INSTANCE_EVENT_TYPE_CREATED: InstanceEventType
INSTANCE_EVENT_TYPE_CHANGED: InstanceEventType
INSTANCE_EVENT_TYPE_BOOKMARK: InstanceEventType
INSTANCE_EVENT_TYPE_BUDGET_ALERT: InstanceEventType
INSTANCE_EVENT_TYPE_END: InstanceEventType
STREAM_END_REASON_UNSPECIFIED: StreamEndReason
STREAM_END_REASON_DONE: StreamEndReason
STREAM_END_REASON_SERVER_STOPPING: StreamEndReason
STREAM_END_REASON_KEY_REVOKED: StreamEndReason
STREAM_END_REASON_RESYNC: StreamEndReason

class InstanceEvent(_message.Message):
    __slots__ = ("type", "event_id", "instance", "previous_state", "event_time", "resume_token", "coalesced", "budget_alert", "end")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    COALESCED_FIELD_NUMBER: _ClassVar[int]
    BUDGET_ALERT_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    type: InstanceEventType
    event_id: str
    instance: _instance_pb2.Instance
    previous_state: _instance_pb2.InstanceState
    event_time: _timestamp_pb2.Timestamp
    resume_token: str
    coalesced: bool
    budget_alert: BudgetAlert
    end: StreamEnd
    def __init__(self, type: _Optional[_Union[InstanceEventType, str]] = ..., event_id: _Optional[str] = ..., instance: _Optional[_Union[_instance_pb2.Instance, _Mapping]] = ..., previous_state: _Optional[_Union[_instance_pb2.InstanceState, str]] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., resume_token: _Optional[str] = ..., coalesced: _Optional[bool] = ..., budget_alert: _Optional[_Union[BudgetAlert, _Mapping]] = ..., end: _Optional[_Union[StreamEnd, _Mapping]] = ...) -> None: ...

class BudgetAlert(_message.Message):
    __slots__ = ("budget_id", "threshold_percent", "spent", "limit")
    BUDGET_ID_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_PERCENT_FIELD_NUMBER: _ClassVar[int]
    SPENT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    budget_id: str
    threshold_percent: int
    spent: _money_pb2.Money
    limit: _money_pb2.Money
    def __init__(self, budget_id: _Optional[str] = ..., threshold_percent: _Optional[int] = ..., spent: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., limit: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...

class StreamEnd(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: StreamEndReason
    message: str
    def __init__(self, reason: _Optional[_Union[StreamEndReason, str]] = ..., message: _Optional[str] = ...) -> None: ...
