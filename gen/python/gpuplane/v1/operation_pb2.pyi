import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.type import money_pb2 as _money_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OperationKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPERATION_KIND_UNSPECIFIED: _ClassVar[OperationKind]
    OPERATION_KIND_CREATE_INSTANCE: _ClassVar[OperationKind]
    OPERATION_KIND_TERMINATE_INSTANCE: _ClassVar[OperationKind]

class OperationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPERATION_STATE_UNSPECIFIED: _ClassVar[OperationState]
    OPERATION_STATE_PENDING: _ClassVar[OperationState]
    OPERATION_STATE_RUNNING: _ClassVar[OperationState]
    OPERATION_STATE_SUCCEEDED: _ClassVar[OperationState]
    OPERATION_STATE_FAILED: _ClassVar[OperationState]
    OPERATION_STATE_CANCELLED: _ClassVar[OperationState]

class AttemptOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTEMPT_OUTCOME_UNSPECIFIED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_CREATED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_STOCKOUT: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_REJECTED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_TOO_DEAR: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_AUTH_FAILED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_NO_FUNDS: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_RATE_LIMITED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_AMBIGUOUS: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_NOT_CREATED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_UNUSABLE: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_NOT_READY: _ClassVar[AttemptOutcome]
OPERATION_KIND_UNSPECIFIED: OperationKind
OPERATION_KIND_CREATE_INSTANCE: OperationKind
OPERATION_KIND_TERMINATE_INSTANCE: OperationKind
OPERATION_STATE_UNSPECIFIED: OperationState
OPERATION_STATE_PENDING: OperationState
OPERATION_STATE_RUNNING: OperationState
OPERATION_STATE_SUCCEEDED: OperationState
OPERATION_STATE_FAILED: OperationState
OPERATION_STATE_CANCELLED: OperationState
ATTEMPT_OUTCOME_UNSPECIFIED: AttemptOutcome
ATTEMPT_OUTCOME_CREATED: AttemptOutcome
ATTEMPT_OUTCOME_STOCKOUT: AttemptOutcome
ATTEMPT_OUTCOME_REJECTED: AttemptOutcome
ATTEMPT_OUTCOME_TOO_DEAR: AttemptOutcome
ATTEMPT_OUTCOME_AUTH_FAILED: AttemptOutcome
ATTEMPT_OUTCOME_NO_FUNDS: AttemptOutcome
ATTEMPT_OUTCOME_RATE_LIMITED: AttemptOutcome
ATTEMPT_OUTCOME_AMBIGUOUS: AttemptOutcome
ATTEMPT_OUTCOME_NOT_CREATED: AttemptOutcome
ATTEMPT_OUTCOME_UNUSABLE: AttemptOutcome
ATTEMPT_OUTCOME_NOT_READY: AttemptOutcome

class Operation(_message.Message):
    __slots__ = ("id", "kind", "state", "instance_id", "account_id", "create_time", "update_time", "done_time", "error", "steps", "attempts", "cancel_requested", "request_id", "revision", "skipped")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DONE_TIME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: OperationKind
    state: OperationState
    instance_id: str
    account_id: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    done_time: _timestamp_pb2.Timestamp
    error: OperationError
    steps: _containers.RepeatedCompositeFieldContainer[OperationStep]
    attempts: _containers.RepeatedCompositeFieldContainer[Attempt]
    cancel_requested: bool
    request_id: str
    revision: int
    skipped: _containers.RepeatedCompositeFieldContainer[SkippedOffers]
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[_Union[OperationKind, str]] = ..., state: _Optional[_Union[OperationState, str]] = ..., instance_id: _Optional[str] = ..., account_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., done_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., error: _Optional[_Union[OperationError, _Mapping]] = ..., steps: _Optional[_Iterable[_Union[OperationStep, _Mapping]]] = ..., attempts: _Optional[_Iterable[_Union[Attempt, _Mapping]]] = ..., cancel_requested: _Optional[bool] = ..., request_id: _Optional[str] = ..., revision: _Optional[int] = ..., skipped: _Optional[_Iterable[_Union[SkippedOffers, _Mapping]]] = ...) -> None: ...

class OperationError(_message.Message):
    __slots__ = ("code", "reason", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class OperationStep(_message.Message):
    __slots__ = ("name", "start_time", "end_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Attempt(_message.Message):
    __slots__ = ("number", "offer_id", "provider", "price_per_hour", "outcome", "message", "start_time", "end_time", "retry_of")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    OFFER_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    RETRY_OF_FIELD_NUMBER: _ClassVar[int]
    number: int
    offer_id: str
    provider: str
    price_per_hour: _money_pb2.Money
    outcome: AttemptOutcome
    message: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    retry_of: int
    def __init__(self, number: _Optional[int] = ..., offer_id: _Optional[str] = ..., provider: _Optional[str] = ..., price_per_hour: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., outcome: _Optional[_Union[AttemptOutcome, str]] = ..., message: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., retry_of: _Optional[int] = ...) -> None: ...

class SkippedOffers(_message.Message):
    __slots__ = ("reason", "count", "offer_id")
    REASON_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    OFFER_ID_FIELD_NUMBER: _ClassVar[int]
    reason: str
    count: int
    offer_id: str
    def __init__(self, reason: _Optional[str] = ..., count: _Optional[int] = ..., offer_id: _Optional[str] = ...) -> None: ...
