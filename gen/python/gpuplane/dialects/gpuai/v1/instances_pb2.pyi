from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateInstanceRequest(_message.Message):
    __slots__ = ("gpu_type", "gpu_count", "tier", "region", "ssh_key_ids", "name", "max_price_per_hour")
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    SSH_KEY_IDS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    MAX_PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    gpu_type: str
    gpu_count: int
    tier: str
    region: str
    ssh_key_ids: _containers.RepeatedScalarFieldContainer[str]
    name: str
    max_price_per_hour: float
    def __init__(self, gpu_type: _Optional[str] = ..., gpu_count: _Optional[int] = ..., tier: _Optional[str] = ..., region: _Optional[str] = ..., ssh_key_ids: _Optional[_Iterable[str]] = ..., name: _Optional[str] = ..., max_price_per_hour: _Optional[float] = ...) -> None: ...

class ListInstancesRequest(_message.Message):
    __slots__ = ("cursor", "limit")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    limit: int
    def __init__(self, cursor: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class GetInstanceRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class UpdateInstanceRequest(_message.Message):
    __slots__ = ("id", "changes")
    ID_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    id: str
    changes: InstanceChanges
    def __init__(self, id: _Optional[str] = ..., changes: _Optional[_Union[InstanceChanges, _Mapping]] = ...) -> None: ...

class InstanceChanges(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteInstanceRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetOperationRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class Instance(_message.Message):
    __slots__ = ("id", "status", "name", "gpu_type", "gpu_count", "region", "tier", "price_per_hour", "connection", "created_at", "ready_at", "terminated_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    READY_AT_FIELD_NUMBER: _ClassVar[int]
    TERMINATED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: str
    name: str
    gpu_type: str
    gpu_count: int
    region: str
    tier: str
    price_per_hour: float
    connection: Connection
    created_at: str
    ready_at: str
    terminated_at: str
    def __init__(self, id: _Optional[str] = ..., status: _Optional[str] = ..., name: _Optional[str] = ..., gpu_type: _Optional[str] = ..., gpu_count: _Optional[int] = ..., region: _Optional[str] = ..., tier: _Optional[str] = ..., price_per_hour: _Optional[float] = ..., connection: _Optional[_Union[Connection, _Mapping]] = ..., created_at: _Optional[str] = ..., ready_at: _Optional[str] = ..., terminated_at: _Optional[str] = ...) -> None: ...

class Connection(_message.Message):
    __slots__ = ("hostname", "port", "ssh_command")
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    SSH_COMMAND_FIELD_NUMBER: _ClassVar[int]
    hostname: str
    port: int
    ssh_command: str
    def __init__(self, hostname: _Optional[str] = ..., port: _Optional[int] = ..., ssh_command: _Optional[str] = ...) -> None: ...

class InstancePage(_message.Message):
    __slots__ = ("data", "next_cursor")
    DATA_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    data: _containers.RepeatedCompositeFieldContainer[Instance]
    next_cursor: _struct_pb2.Value
    def __init__(self, data: _Optional[_Iterable[_Union[Instance, _Mapping]]] = ..., next_cursor: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ...) -> None: ...

class Operation(_message.Message):
    __slots__ = ("operation_id", "kind", "state", "resource_id", "error", "created_at", "updated_at", "completed_at")
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_AT_FIELD_NUMBER: _ClassVar[int]
    operation_id: str
    kind: str
    state: str
    resource_id: str
    error: OperationError
    created_at: str
    updated_at: str
    completed_at: str
    def __init__(self, operation_id: _Optional[str] = ..., kind: _Optional[str] = ..., state: _Optional[str] = ..., resource_id: _Optional[str] = ..., error: _Optional[_Union[OperationError, _Mapping]] = ..., created_at: _Optional[str] = ..., updated_at: _Optional[str] = ..., completed_at: _Optional[str] = ...) -> None: ...

class OperationError(_message.Message):
    __slots__ = ("code", "detail")
    CODE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    code: str
    detail: str
    def __init__(self, code: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...
