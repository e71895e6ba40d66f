from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateInstanceRequest(_message.Message):
    __slots__ = ("sku", "gpus", "pool", "duration_hours", "image", "ssh_keys", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SKU_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    DURATION_HOURS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SSH_KEYS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    sku: str
    gpus: int
    pool: str
    duration_hours: float
    image: str
    ssh_keys: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.ScalarMap[str, str]
    def __init__(self, sku: _Optional[str] = ..., gpus: _Optional[int] = ..., pool: _Optional[str] = ..., duration_hours: _Optional[float] = ..., image: _Optional[str] = ..., ssh_keys: _Optional[_Iterable[str]] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ListInstancesRequest(_message.Message):
    __slots__ = ("status", "limit", "after")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    status: str
    limit: int
    after: str
    def __init__(self, status: _Optional[str] = ..., limit: _Optional[int] = ..., after: _Optional[str] = ...) -> None: ...

class InstanceList(_message.Message):
    __slots__ = ("object", "data", "has_more")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    object: str
    data: _containers.RepeatedCompositeFieldContainer[Instance]
    has_more: bool
    def __init__(self, object: _Optional[str] = ..., data: _Optional[_Iterable[_Union[Instance, _Mapping]]] = ..., has_more: _Optional[bool] = ...) -> None: ...

class GetInstanceRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class TerminateInstanceRequest(_message.Message):
    __slots__ = ("id", "force")
    ID_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    force: bool
    def __init__(self, id: _Optional[str] = ..., force: _Optional[bool] = ...) -> None: ...

class ExtendInstanceRequest(_message.Message):
    __slots__ = ("id", "duration_hours")
    ID_FIELD_NUMBER: _ClassVar[int]
    DURATION_HOURS_FIELD_NUMBER: _ClassVar[int]
    id: str
    duration_hours: float
    def __init__(self, id: _Optional[str] = ..., duration_hours: _Optional[float] = ...) -> None: ...

class Instance(_message.Message):
    __slots__ = ("id", "object", "status", "sku", "gpus", "operator_pool", "image", "duration_hours", "labels", "endpoints", "failure_reason", "failure_message", "simulated", "created_at", "ready_at", "expires_at", "terminated_at")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_POOL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_HOURS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_REASON_FIELD_NUMBER: _ClassVar[int]
    FAILURE_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    READY_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    TERMINATED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    object: str
    status: str
    sku: str
    gpus: int
    operator_pool: str
    image: str
    duration_hours: float
    labels: _containers.ScalarMap[str, str]
    endpoints: Endpoints
    failure_reason: str
    failure_message: str
    simulated: bool
    created_at: str
    ready_at: str
    expires_at: str
    terminated_at: str
    def __init__(self, id: _Optional[str] = ..., object: _Optional[str] = ..., status: _Optional[str] = ..., sku: _Optional[str] = ..., gpus: _Optional[int] = ..., operator_pool: _Optional[str] = ..., image: _Optional[str] = ..., duration_hours: _Optional[float] = ..., labels: _Optional[_Mapping[str, str]] = ..., endpoints: _Optional[_Union[Endpoints, _Mapping]] = ..., failure_reason: _Optional[str] = ..., failure_message: _Optional[str] = ..., simulated: _Optional[bool] = ..., created_at: _Optional[str] = ..., ready_at: _Optional[str] = ..., expires_at: _Optional[str] = ..., terminated_at: _Optional[str] = ...) -> None: ...

class Endpoints(_message.Message):
    __slots__ = ("ssh", "jupyter")
    SSH_FIELD_NUMBER: _ClassVar[int]
    JUPYTER_FIELD_NUMBER: _ClassVar[int]
    ssh: SshEndpoint
    jupyter: JupyterEndpoint
    def __init__(self, ssh: _Optional[_Union[SshEndpoint, _Mapping]] = ..., jupyter: _Optional[_Union[JupyterEndpoint, _Mapping]] = ...) -> None: ...

class JupyterEndpoint(_message.Message):
    __slots__ = ("url", "token")
    URL_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    url: str
    token: str
    def __init__(self, url: _Optional[str] = ..., token: _Optional[str] = ...) -> None: ...

class SshEndpoint(_message.Message):
    __slots__ = ("host", "port", "user", "host_key", "command")
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    HOST_KEY_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    host: str
    port: int
    user: str
    host_key: str
    command: str
    def __init__(self, host: _Optional[str] = ..., port: _Optional[int] = ..., user: _Optional[str] = ..., host_key: _Optional[str] = ..., command: _Optional[str] = ...) -> None: ...
