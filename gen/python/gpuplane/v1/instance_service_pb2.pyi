import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.type import money_pb2 as _money_pb2
from gpuplane.v1 import instance_pb2 as _instance_pb2
from gpuplane.v1 import offer_service_pb2 as _offer_service_pb2
from gpuplane.v1 import operation_pb2 as _operation_pb2
from gpuplane.v1 import watch_pb2 as _watch_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateInstanceRequest(_message.Message):
    __slots__ = ("request_id", "name", "labels", "offer_id", "requirements", "max_price_per_hour", "ssh_key_ids", "ssh_public_keys", "image", "disk_gb", "launch_mode", "model", "env", "reservation", "max_duration", "idle_timeout", "template_id", "on_start", "ports", "max_retries", "quantization", "preserve_disk")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class EnvEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    OFFER_ID_FIELD_NUMBER: _ClassVar[int]
    REQUIREMENTS_FIELD_NUMBER: _ClassVar[int]
    MAX_PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    SSH_KEY_IDS_FIELD_NUMBER: _ClassVar[int]
    SSH_PUBLIC_KEYS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    DISK_GB_FIELD_NUMBER: _ClassVar[int]
    LAUNCH_MODE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_FIELD_NUMBER: _ClassVar[int]
    MAX_DURATION_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_ID_FIELD_NUMBER: _ClassVar[int]
    ON_START_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    MAX_RETRIES_FIELD_NUMBER: _ClassVar[int]
    QUANTIZATION_FIELD_NUMBER: _ClassVar[int]
    PRESERVE_DISK_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    name: str
    labels: _containers.ScalarMap[str, str]
    offer_id: str
    requirements: _offer_service_pb2.Requirements
    max_price_per_hour: _money_pb2.Money
    ssh_key_ids: _containers.RepeatedScalarFieldContainer[str]
    ssh_public_keys: _containers.RepeatedScalarFieldContainer[str]
    image: str
    disk_gb: int
    launch_mode: _instance_pb2.LaunchMode
    model: str
    env: _containers.ScalarMap[str, str]
    reservation: _duration_pb2.Duration
    max_duration: _duration_pb2.Duration
    idle_timeout: _duration_pb2.Duration
    template_id: str
    on_start: str
    ports: _containers.RepeatedScalarFieldContainer[int]
    max_retries: int
    quantization: str
    preserve_disk: bool
    def __init__(self, request_id: _Optional[str] = ..., name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., offer_id: _Optional[str] = ..., requirements: _Optional[_Union[_offer_service_pb2.Requirements, _Mapping]] = ..., max_price_per_hour: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., ssh_key_ids: _Optional[_Iterable[str]] = ..., ssh_public_keys: _Optional[_Iterable[str]] = ..., image: _Optional[str] = ..., disk_gb: _Optional[int] = ..., launch_mode: _Optional[_Union[_instance_pb2.LaunchMode, str]] = ..., model: _Optional[str] = ..., env: _Optional[_Mapping[str, str]] = ..., reservation: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., idle_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., template_id: _Optional[str] = ..., on_start: _Optional[str] = ..., ports: _Optional[_Iterable[int]] = ..., max_retries: _Optional[int] = ..., quantization: _Optional[str] = ..., preserve_disk: _Optional[bool] = ...) -> None: ...

class BatchCreateInstancesRequest(_message.Message):
    __slots__ = ("request_id", "requests")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    requests: _containers.RepeatedCompositeFieldContainer[CreateInstanceRequest]
    def __init__(self, request_id: _Optional[str] = ..., requests: _Optional[_Iterable[_Union[CreateInstanceRequest, _Mapping]]] = ...) -> None: ...

class BatchCreateInstancesResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[CreateResult]
    def __init__(self, results: _Optional[_Iterable[_Union[CreateResult, _Mapping]]] = ...) -> None: ...

class ReserveInstancesRequest(_message.Message):
    __slots__ = ("request_id", "create", "count", "min_count")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MIN_COUNT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    create: CreateInstanceRequest
    count: int
    min_count: int
    def __init__(self, request_id: _Optional[str] = ..., create: _Optional[_Union[CreateInstanceRequest, _Mapping]] = ..., count: _Optional[int] = ..., min_count: _Optional[int] = ...) -> None: ...

class ReserveInstancesResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[CreateResult]
    def __init__(self, results: _Optional[_Iterable[_Union[CreateResult, _Mapping]]] = ...) -> None: ...

class CreateResult(_message.Message):
    __slots__ = ("operation", "error")
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    operation: _operation_pb2.Operation
    error: CreateError
    def __init__(self, operation: _Optional[_Union[_operation_pb2.Operation, _Mapping]] = ..., error: _Optional[_Union[CreateError, _Mapping]] = ...) -> None: ...

class CreateError(_message.Message):
    __slots__ = ("code", "reason", "message", "field")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    field: str
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., field: _Optional[str] = ...) -> None: ...

class GetInstanceRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListInstancesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "states", "provider", "label_selector", "active_only")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    LABEL_SELECTOR_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_ONLY_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    states: _containers.RepeatedScalarFieldContainer[_instance_pb2.InstanceState]
    provider: str
    label_selector: str
    active_only: bool
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., states: _Optional[_Iterable[_Union[_instance_pb2.InstanceState, str]]] = ..., provider: _Optional[str] = ..., label_selector: _Optional[str] = ..., active_only: _Optional[bool] = ...) -> None: ...

class ListInstancesResponse(_message.Message):
    __slots__ = ("instances", "next_page_token", "resume_token")
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    instances: _containers.RepeatedCompositeFieldContainer[_instance_pb2.Instance]
    next_page_token: str
    resume_token: str
    def __init__(self, instances: _Optional[_Iterable[_Union[_instance_pb2.Instance, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class UpdateInstanceRequest(_message.Message):
    __slots__ = ("id", "name", "labels", "remove_labels", "request_id")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REMOVE_LABELS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    labels: _containers.ScalarMap[str, str]
    remove_labels: _containers.RepeatedScalarFieldContainer[str]
    request_id: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., remove_labels: _Optional[_Iterable[str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class TerminateInstanceRequest(_message.Message):
    __slots__ = ("id", "force", "request_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    force: bool
    request_id: str
    def __init__(self, id: _Optional[str] = ..., force: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class ExtendInstanceRequest(_message.Message):
    __slots__ = ("id", "duration", "request_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    duration: _duration_pb2.Duration
    request_id: str
    def __init__(self, id: _Optional[str] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class WatchInstanceRequest(_message.Message):
    __slots__ = ("id", "resume_token")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    id: str
    resume_token: str
    def __init__(self, id: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchInstancesRequest(_message.Message):
    __slots__ = ("resume_token",)
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    resume_token: str
    def __init__(self, resume_token: _Optional[str] = ...) -> None: ...

class GetConnectionRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetDiagnosticsRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class Diagnostics(_message.Message):
    __slots__ = ("instance_id", "state", "provider_status", "provider_message", "ssh_sessions", "cpu_percent", "gpu_percent", "idle_since", "last_seen_time")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_STATUS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SSH_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    CPU_PERCENT_FIELD_NUMBER: _ClassVar[int]
    GPU_PERCENT_FIELD_NUMBER: _ClassVar[int]
    IDLE_SINCE_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_TIME_FIELD_NUMBER: _ClassVar[int]
    instance_id: str
    state: _instance_pb2.InstanceState
    provider_status: str
    provider_message: str
    ssh_sessions: int
    cpu_percent: float
    gpu_percent: float
    idle_since: _timestamp_pb2.Timestamp
    last_seen_time: _timestamp_pb2.Timestamp
    def __init__(self, instance_id: _Optional[str] = ..., state: _Optional[_Union[_instance_pb2.InstanceState, str]] = ..., provider_status: _Optional[str] = ..., provider_message: _Optional[str] = ..., ssh_sessions: _Optional[int] = ..., cpu_percent: _Optional[float] = ..., gpu_percent: _Optional[float] = ..., idle_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_seen_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetInstanceLogsRequest(_message.Message):
    __slots__ = ("id", "tail")
    ID_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    id: str
    tail: int
    def __init__(self, id: _Optional[str] = ..., tail: _Optional[int] = ...) -> None: ...

class InstanceLogs(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...
