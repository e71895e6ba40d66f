import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.type import money_pb2 as _money_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UsageBucketSize(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    USAGE_BUCKET_SIZE_UNSPECIFIED: _ClassVar[UsageBucketSize]
    USAGE_BUCKET_SIZE_HOUR: _ClassVar[UsageBucketSize]
    USAGE_BUCKET_SIZE_DAY: _ClassVar[UsageBucketSize]
    USAGE_BUCKET_SIZE_WEEK: _ClassVar[UsageBucketSize]
    USAGE_BUCKET_SIZE_MONTH: _ClassVar[UsageBucketSize]

class UsageGroup(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    USAGE_GROUP_UNSPECIFIED: _ClassVar[UsageGroup]
    USAGE_GROUP_INSTANCE: _ClassVar[UsageGroup]
    USAGE_GROUP_GPU_TYPE: _ClassVar[UsageGroup]
    USAGE_GROUP_PROVIDER: _ClassVar[UsageGroup]
USAGE_BUCKET_SIZE_UNSPECIFIED: UsageBucketSize
USAGE_BUCKET_SIZE_HOUR: UsageBucketSize
USAGE_BUCKET_SIZE_DAY: UsageBucketSize
USAGE_BUCKET_SIZE_WEEK: UsageBucketSize
USAGE_BUCKET_SIZE_MONTH: UsageBucketSize
USAGE_GROUP_UNSPECIFIED: UsageGroup
USAGE_GROUP_INSTANCE: UsageGroup
USAGE_GROUP_GPU_TYPE: UsageGroup
USAGE_GROUP_PROVIDER: UsageGroup

class QueryUsageRequest(_message.Message):
    __slots__ = ("start_time", "end_time", "bucket", "group_by", "page_size", "page_token")
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    bucket: UsageBucketSize
    group_by: UsageGroup
    page_size: int
    page_token: str
    def __init__(self, start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., bucket: _Optional[_Union[UsageBucketSize, str]] = ..., group_by: _Optional[_Union[UsageGroup, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class QueryUsageResponse(_message.Message):
    __slots__ = ("buckets", "next_page_token")
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    buckets: _containers.RepeatedCompositeFieldContainer[UsageBucket]
    next_page_token: str
    def __init__(self, buckets: _Optional[_Iterable[_Union[UsageBucket, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UsageBucket(_message.Message):
    __slots__ = ("start_time", "group", "gpu_seconds", "cost")
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    GPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    start_time: _timestamp_pb2.Timestamp
    group: str
    gpu_seconds: float
    cost: _money_pb2.Money
    def __init__(self, start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., group: _Optional[str] = ..., gpu_seconds: _Optional[float] = ..., cost: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...

class GetCostSummaryRequest(_message.Message):
    __slots__ = ("start_time", "end_time", "instance_id")
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    instance_id: str
    def __init__(self, start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., instance_id: _Optional[str] = ...) -> None: ...

class CostSummary(_message.Message):
    __slots__ = ("total", "instance_count", "hours", "by_provider", "by_gpu_type")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_COUNT_FIELD_NUMBER: _ClassVar[int]
    HOURS_FIELD_NUMBER: _ClassVar[int]
    BY_PROVIDER_FIELD_NUMBER: _ClassVar[int]
    BY_GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    total: _money_pb2.Money
    instance_count: int
    hours: float
    by_provider: _containers.RepeatedCompositeFieldContainer[CostShare]
    by_gpu_type: _containers.RepeatedCompositeFieldContainer[CostShare]
    def __init__(self, total: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., instance_count: _Optional[int] = ..., hours: _Optional[float] = ..., by_provider: _Optional[_Iterable[_Union[CostShare, _Mapping]]] = ..., by_gpu_type: _Optional[_Iterable[_Union[CostShare, _Mapping]]] = ...) -> None: ...

class CostShare(_message.Message):
    __slots__ = ("key", "cost")
    KEY_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    key: str
    cost: _money_pb2.Money
    def __init__(self, key: _Optional[str] = ..., cost: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...

class ListLedgerEntriesRequest(_message.Message):
    __slots__ = ("instance_id", "page_size", "page_token")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    instance_id: str
    page_size: int
    page_token: str
    def __init__(self, instance_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListLedgerEntriesResponse(_message.Message):
    __slots__ = ("entries", "next_page_token")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[LedgerEntry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[LedgerEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class LedgerEntry(_message.Message):
    __slots__ = ("id", "instance_id", "start_time", "end_time", "amount", "description")
    ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    id: str
    instance_id: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    amount: _money_pb2.Money
    description: str
    def __init__(self, id: _Optional[str] = ..., instance_id: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., amount: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., description: _Optional[str] = ...) -> None: ...
