import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.type import money_pb2 as _money_pb2
from gpuplane.v1 import offer_pb2 as _offer_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InstanceState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INSTANCE_STATE_UNSPECIFIED: _ClassVar[InstanceState]
    INSTANCE_STATE_ACCEPTED: _ClassVar[InstanceState]
    INSTANCE_STATE_ALLOCATING: _ClassVar[InstanceState]
    INSTANCE_STATE_STARTING: _ClassVar[InstanceState]
    INSTANCE_STATE_RUNNING: _ClassVar[InstanceState]
    INSTANCE_STATE_STOPPING: _ClassVar[InstanceState]
    INSTANCE_STATE_STOPPED: _ClassVar[InstanceState]
    INSTANCE_STATE_TERMINATED: _ClassVar[InstanceState]
    INSTANCE_STATE_FAILED: _ClassVar[InstanceState]

class LaunchMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LAUNCH_MODE_UNSPECIFIED: _ClassVar[LaunchMode]
    LAUNCH_MODE_SSH: _ClassVar[LaunchMode]
    LAUNCH_MODE_MODEL: _ClassVar[LaunchMode]

class BillingKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BILLING_KIND_UNSPECIFIED: _ClassVar[BillingKind]
    BILLING_KIND_PER_SECOND: _ClassVar[BillingKind]
    BILLING_KIND_PREPAID: _ClassVar[BillingKind]
INSTANCE_STATE_UNSPECIFIED: InstanceState
INSTANCE_STATE_ACCEPTED: InstanceState
INSTANCE_STATE_ALLOCATING: InstanceState
INSTANCE_STATE_STARTING: InstanceState
INSTANCE_STATE_RUNNING: InstanceState
INSTANCE_STATE_STOPPING: InstanceState
INSTANCE_STATE_STOPPED: InstanceState
INSTANCE_STATE_TERMINATED: InstanceState
INSTANCE_STATE_FAILED: InstanceState
LAUNCH_MODE_UNSPECIFIED: LaunchMode
LAUNCH_MODE_SSH: LaunchMode
LAUNCH_MODE_MODEL: LaunchMode
BILLING_KIND_UNSPECIFIED: BillingKind
BILLING_KIND_PER_SECOND: BillingKind
BILLING_KIND_PREPAID: BillingKind

class Instance(_message.Message):
    __slots__ = ("id", "account_id", "name", "labels", "state", "state_reason", "state_message", "revision", "offer_id", "provider", "gpu_type", "gpu_count", "vram_gb", "cpu_count", "memory_gb", "disk_gb", "region", "location", "tier", "price_per_hour", "simulated", "launch_mode", "image", "model", "connection", "ssh_key_ids", "create_operation_id", "create_time", "update_time", "run_time", "end_time", "gone_time", "expire_time", "hard_expire_time", "idle_timeout", "billing", "provider_expire_time")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_REASON_FIELD_NUMBER: _ClassVar[int]
    STATE_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    OFFER_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    VRAM_GB_FIELD_NUMBER: _ClassVar[int]
    CPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_GB_FIELD_NUMBER: _ClassVar[int]
    DISK_GB_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    LAUNCH_MODE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_FIELD_NUMBER: _ClassVar[int]
    SSH_KEY_IDS_FIELD_NUMBER: _ClassVar[int]
    CREATE_OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    RUN_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    GONE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    HARD_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    BILLING_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    account_id: str
    name: str
    labels: _containers.ScalarMap[str, str]
    state: InstanceState
    state_reason: str
    state_message: str
    revision: int
    offer_id: str
    provider: str
    gpu_type: str
    gpu_count: int
    vram_gb: int
    cpu_count: int
    memory_gb: int
    disk_gb: int
    region: str
    location: str
    tier: _offer_pb2.Tier
    price_per_hour: _money_pb2.Money
    simulated: bool
    launch_mode: LaunchMode
    image: str
    model: str
    connection: Connection
    ssh_key_ids: _containers.RepeatedScalarFieldContainer[str]
    create_operation_id: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    run_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    gone_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    hard_expire_time: _timestamp_pb2.Timestamp
    idle_timeout: _duration_pb2.Duration
    billing: BillingPolicy
    provider_expire_time: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., account_id: _Optional[str] = ..., name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., state: _Optional[_Union[InstanceState, str]] = ..., state_reason: _Optional[str] = ..., state_message: _Optional[str] = ..., revision: _Optional[int] = ..., offer_id: _Optional[str] = ..., provider: _Optional[str] = ..., gpu_type: _Optional[str] = ..., gpu_count: _Optional[int] = ..., vram_gb: _Optional[int] = ..., cpu_count: _Optional[int] = ..., memory_gb: _Optional[int] = ..., disk_gb: _Optional[int] = ..., region: _Optional[str] = ..., location: _Optional[str] = ..., tier: _Optional[_Union[_offer_pb2.Tier, str]] = ..., price_per_hour: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., simulated: _Optional[bool] = ..., launch_mode: _Optional[_Union[LaunchMode, str]] = ..., image: _Optional[str] = ..., model: _Optional[str] = ..., connection: _Optional[_Union[Connection, _Mapping]] = ..., ssh_key_ids: _Optional[_Iterable[str]] = ..., create_operation_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., run_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., gone_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., hard_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., idle_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., billing: _Optional[_Union[BillingPolicy, _Mapping]] = ..., provider_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Connection(_message.Message):
    __slots__ = ("ssh_host", "ssh_port", "ssh_user", "ssh_host_key", "ssh_command", "model_url", "model_api_key", "jupyter_url", "jupyter_token")
    SSH_HOST_FIELD_NUMBER: _ClassVar[int]
    SSH_PORT_FIELD_NUMBER: _ClassVar[int]
    SSH_USER_FIELD_NUMBER: _ClassVar[int]
    SSH_HOST_KEY_FIELD_NUMBER: _ClassVar[int]
    SSH_COMMAND_FIELD_NUMBER: _ClassVar[int]
    MODEL_URL_FIELD_NUMBER: _ClassVar[int]
    MODEL_API_KEY_FIELD_NUMBER: _ClassVar[int]
    JUPYTER_URL_FIELD_NUMBER: _ClassVar[int]
    JUPYTER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ssh_host: str
    ssh_port: int
    ssh_user: str
    ssh_host_key: str
    ssh_command: str
    model_url: str
    model_api_key: str
    jupyter_url: str
    jupyter_token: str
    def __init__(self, ssh_host: _Optional[str] = ..., ssh_port: _Optional[int] = ..., ssh_user: _Optional[str] = ..., ssh_host_key: _Optional[str] = ..., ssh_command: _Optional[str] = ..., model_url: _Optional[str] = ..., model_api_key: _Optional[str] = ..., jupyter_url: _Optional[str] = ..., jupyter_token: _Optional[str] = ...) -> None: ...

class BillingPolicy(_message.Message):
    __slots__ = ("kind", "minimum")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    kind: BillingKind
    minimum: _duration_pb2.Duration
    def __init__(self, kind: _Optional[_Union[BillingKind, str]] = ..., minimum: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
