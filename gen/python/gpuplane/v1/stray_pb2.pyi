import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.type import money_pb2 as _money_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StrayKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STRAY_KIND_UNSPECIFIED: _ClassVar[StrayKind]
    STRAY_KIND_ORPHAN: _ClassVar[StrayKind]
    STRAY_KIND_FOREIGN: _ClassVar[StrayKind]

class StrayWish(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STRAY_WISH_UNSPECIFIED: _ClassVar[StrayWish]
    STRAY_WISH_ADOPT: _ClassVar[StrayWish]
    STRAY_WISH_DESTROY: _ClassVar[StrayWish]
STRAY_KIND_UNSPECIFIED: StrayKind
STRAY_KIND_ORPHAN: StrayKind
STRAY_KIND_FOREIGN: StrayKind
STRAY_WISH_UNSPECIFIED: StrayWish
STRAY_WISH_ADOPT: StrayWish
STRAY_WISH_DESTROY: StrayWish

class Stray(_message.Message):
    __slots__ = ("id", "provider", "credential_id", "machine_id", "label", "kind", "provider_status", "price_per_hour", "first_seen_time", "last_seen_time", "wish", "account_id", "error", "instance_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_ID_FIELD_NUMBER: _ClassVar[int]
    MACHINE_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_STATUS_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEEN_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_TIME_FIELD_NUMBER: _ClassVar[int]
    WISH_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    provider: str
    credential_id: str
    machine_id: str
    label: str
    kind: StrayKind
    provider_status: str
    price_per_hour: _money_pb2.Money
    first_seen_time: _timestamp_pb2.Timestamp
    last_seen_time: _timestamp_pb2.Timestamp
    wish: StrayWish
    account_id: str
    error: str
    instance_id: str
    def __init__(self, id: _Optional[str] = ..., provider: _Optional[str] = ..., credential_id: _Optional[str] = ..., machine_id: _Optional[str] = ..., label: _Optional[str] = ..., kind: _Optional[_Union[StrayKind, str]] = ..., provider_status: _Optional[str] = ..., price_per_hour: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., first_seen_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_seen_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., wish: _Optional[_Union[StrayWish, str]] = ..., account_id: _Optional[str] = ..., error: _Optional[str] = ..., instance_id: _Optional[str] = ...) -> None: ...
