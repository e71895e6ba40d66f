from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateSessionRequest(_message.Message):
    __slots__ = ("consumer_id", "offer_id", "workload_type", "reservation_hours", "idle_threshold_minutes", "storage_policy", "launch_mode", "docker_image", "model_id", "exposed_ports", "quantization", "disk_gb", "template_hash_id", "auto_retry", "max_retries", "retry_scope", "on_start_cmd")
    CONSUMER_ID_FIELD_NUMBER: _ClassVar[int]
    OFFER_ID_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_TYPE_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_HOURS_FIELD_NUMBER: _ClassVar[int]
    IDLE_THRESHOLD_MINUTES_FIELD_NUMBER: _ClassVar[int]
    STORAGE_POLICY_FIELD_NUMBER: _ClassVar[int]
    LAUNCH_MODE_FIELD_NUMBER: _ClassVar[int]
    DOCKER_IMAGE_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    EXPOSED_PORTS_FIELD_NUMBER: _ClassVar[int]
    QUANTIZATION_FIELD_NUMBER: _ClassVar[int]
    DISK_GB_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_HASH_ID_FIELD_NUMBER: _ClassVar[int]
    AUTO_RETRY_FIELD_NUMBER: _ClassVar[int]
    MAX_RETRIES_FIELD_NUMBER: _ClassVar[int]
    RETRY_SCOPE_FIELD_NUMBER: _ClassVar[int]
    ON_START_CMD_FIELD_NUMBER: _ClassVar[int]
    consumer_id: str
    offer_id: str
    workload_type: str
    reservation_hours: int
    idle_threshold_minutes: int
    storage_policy: str
    launch_mode: str
    docker_image: str
    model_id: str
    exposed_ports: _containers.RepeatedScalarFieldContainer[int]
    quantization: str
    disk_gb: int
    template_hash_id: str
    auto_retry: bool
    max_retries: int
    retry_scope: str
    on_start_cmd: str
    def __init__(self, consumer_id: _Optional[str] = ..., offer_id: _Optional[str] = ..., workload_type: _Optional[str] = ..., reservation_hours: _Optional[int] = ..., idle_threshold_minutes: _Optional[int] = ..., storage_policy: _Optional[str] = ..., launch_mode: _Optional[str] = ..., docker_image: _Optional[str] = ..., model_id: _Optional[str] = ..., exposed_ports: _Optional[_Iterable[int]] = ..., quantization: _Optional[str] = ..., disk_gb: _Optional[int] = ..., template_hash_id: _Optional[str] = ..., auto_retry: _Optional[bool] = ..., max_retries: _Optional[int] = ..., retry_scope: _Optional[str] = ..., on_start_cmd: _Optional[str] = ...) -> None: ...

class ListSessionsRequest(_message.Message):
    __slots__ = ("consumer_id", "status", "provider", "limit")
    CONSUMER_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    consumer_id: str
    status: str
    provider: str
    limit: str
    def __init__(self, consumer_id: _Optional[str] = ..., status: _Optional[str] = ..., provider: _Optional[str] = ..., limit: _Optional[str] = ...) -> None: ...

class GetSessionRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class FinishSessionRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ExtendSessionRequest(_message.Message):
    __slots__ = ("id", "additional_hours")
    ID_FIELD_NUMBER: _ClassVar[int]
    ADDITIONAL_HOURS_FIELD_NUMBER: _ClassVar[int]
    id: str
    additional_hours: int
    def __init__(self, id: _Optional[str] = ..., additional_hours: _Optional[int] = ...) -> None: ...

class DestroySessionRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class DiagnoseSessionRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class RekeySessionRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("id", "consumer_id", "provider", "gpu_type", "gpu_count", "status", "error", "ssh_host", "ssh_port", "ssh_user", "workload_type", "reservation_hours", "price_per_hour", "disk_gb", "offer_id", "idle_threshold_minutes", "storage_policy", "launch_mode", "api_endpoint", "model_id", "quantization", "docker_image", "exposed_ports", "template_hash_id", "template_name", "auto_retry", "created_at", "expires_at", "stopped_at", "simulated", "api_port", "retry_count", "failed_offers")
    ID_FIELD_NUMBER: _ClassVar[int]
    CONSUMER_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SSH_HOST_FIELD_NUMBER: _ClassVar[int]
    SSH_PORT_FIELD_NUMBER: _ClassVar[int]
    SSH_USER_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_TYPE_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_HOURS_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    DISK_GB_FIELD_NUMBER: _ClassVar[int]
    OFFER_ID_FIELD_NUMBER: _ClassVar[int]
    IDLE_THRESHOLD_MINUTES_FIELD_NUMBER: _ClassVar[int]
    STORAGE_POLICY_FIELD_NUMBER: _ClassVar[int]
    LAUNCH_MODE_FIELD_NUMBER: _ClassVar[int]
    API_ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    QUANTIZATION_FIELD_NUMBER: _ClassVar[int]
    DOCKER_IMAGE_FIELD_NUMBER: _ClassVar[int]
    EXPOSED_PORTS_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_HASH_ID_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_NAME_FIELD_NUMBER: _ClassVar[int]
    AUTO_RETRY_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    STOPPED_AT_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    API_PORT_FIELD_NUMBER: _ClassVar[int]
    RETRY_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILED_OFFERS_FIELD_NUMBER: _ClassVar[int]
    id: str
    consumer_id: str
    provider: str
    gpu_type: str
    gpu_count: int
    status: str
    error: str
    ssh_host: str
    ssh_port: int
    ssh_user: str
    workload_type: str
    reservation_hours: int
    price_per_hour: float
    disk_gb: int
    offer_id: str
    idle_threshold_minutes: int
    storage_policy: str
    launch_mode: str
    api_endpoint: str
    model_id: str
    quantization: str
    docker_image: str
    exposed_ports: _containers.RepeatedScalarFieldContainer[int]
    template_hash_id: str
    template_name: str
    auto_retry: bool
    created_at: str
    expires_at: str
    stopped_at: str
    simulated: bool
    api_port: int
    retry_count: int
    failed_offers: _struct_pb2.ListValue
    def __init__(self, id: _Optional[str] = ..., consumer_id: _Optional[str] = ..., provider: _Optional[str] = ..., gpu_type: _Optional[str] = ..., gpu_count: _Optional[int] = ..., status: _Optional[str] = ..., error: _Optional[str] = ..., ssh_host: _Optional[str] = ..., ssh_port: _Optional[int] = ..., ssh_user: _Optional[str] = ..., workload_type: _Optional[str] = ..., reservation_hours: _Optional[int] = ..., price_per_hour: _Optional[float] = ..., disk_gb: _Optional[int] = ..., offer_id: _Optional[str] = ..., idle_threshold_minutes: _Optional[int] = ..., storage_policy: _Optional[str] = ..., launch_mode: _Optional[str] = ..., api_endpoint: _Optional[str] = ..., model_id: _Optional[str] = ..., quantization: _Optional[str] = ..., docker_image: _Optional[str] = ..., exposed_ports: _Optional[_Iterable[int]] = ..., template_hash_id: _Optional[str] = ..., template_name: _Optional[str] = ..., auto_retry: _Optional[bool] = ..., created_at: _Optional[str] = ..., expires_at: _Optional[str] = ..., stopped_at: _Optional[str] = ..., simulated: _Optional[bool] = ..., api_port: _Optional[int] = ..., retry_count: _Optional[int] = ..., failed_offers: _Optional[_Union[_struct_pb2.ListValue, _Mapping]] = ...) -> None: ...

class CreatedSession(_message.Message):
    __slots__ = ("session", "ssh_private_key", "api_key", "retries_attempted")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SSH_PRIVATE_KEY_FIELD_NUMBER: _ClassVar[int]
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    RETRIES_ATTEMPTED_FIELD_NUMBER: _ClassVar[int]
    session: Session
    ssh_private_key: str
    api_key: str
    retries_attempted: int
    def __init__(self, session: _Optional[_Union[Session, _Mapping]] = ..., ssh_private_key: _Optional[str] = ..., api_key: _Optional[str] = ..., retries_attempted: _Optional[int] = ...) -> None: ...

class SessionList(_message.Message):
    __slots__ = ("sessions", "count")
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[Session]
    count: int
    def __init__(self, sessions: _Optional[_Iterable[_Union[Session, _Mapping]]] = ..., count: _Optional[int] = ...) -> None: ...

class SessionNotice(_message.Message):
    __slots__ = ("message", "session_id")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    message: str
    session_id: str
    def __init__(self, message: _Optional[str] = ..., session_id: _Optional[str] = ...) -> None: ...

class ExtendedSession(_message.Message):
    __slots__ = ("message", "session_id", "new_expires_at")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    NEW_EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    message: str
    session_id: str
    new_expires_at: str
    def __init__(self, message: _Optional[str] = ..., session_id: _Optional[str] = ..., new_expires_at: _Optional[str] = ...) -> None: ...

class SessionDiagnostics(_message.Message):
    __slots__ = ("session_id", "status", "provider", "gpu_type", "gpu_count", "ssh_host", "ssh_port", "ssh_user", "launch_mode", "api_endpoint", "created_at", "expires_at", "uptime", "time_to_expiry", "ssh_available", "note")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    SSH_HOST_FIELD_NUMBER: _ClassVar[int]
    SSH_PORT_FIELD_NUMBER: _ClassVar[int]
    SSH_USER_FIELD_NUMBER: _ClassVar[int]
    LAUNCH_MODE_FIELD_NUMBER: _ClassVar[int]
    API_ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    UPTIME_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_EXPIRY_FIELD_NUMBER: _ClassVar[int]
    SSH_AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    status: str
    provider: str
    gpu_type: str
    gpu_count: int
    ssh_host: str
    ssh_port: int
    ssh_user: str
    launch_mode: str
    api_endpoint: str
    created_at: str
    expires_at: str
    uptime: str
    time_to_expiry: str
    ssh_available: bool
    note: str
    def __init__(self, session_id: _Optional[str] = ..., status: _Optional[str] = ..., provider: _Optional[str] = ..., gpu_type: _Optional[str] = ..., gpu_count: _Optional[int] = ..., ssh_host: _Optional[str] = ..., ssh_port: _Optional[int] = ..., ssh_user: _Optional[str] = ..., launch_mode: _Optional[str] = ..., api_endpoint: _Optional[str] = ..., created_at: _Optional[str] = ..., expires_at: _Optional[str] = ..., uptime: _Optional[str] = ..., time_to_expiry: _Optional[str] = ..., ssh_available: _Optional[bool] = ..., note: _Optional[str] = ...) -> None: ...
