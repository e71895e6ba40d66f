from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListTemplatesRequest(_message.Message):
    __slots__ = ("name", "recommended", "use_ssh", "image")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDED_FIELD_NUMBER: _ClassVar[int]
    USE_SSH_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    recommended: str
    use_ssh: str
    image: str
    def __init__(self, name: _Optional[str] = ..., recommended: _Optional[str] = ..., use_ssh: _Optional[str] = ..., image: _Optional[str] = ...) -> None: ...

class GetTemplateRequest(_message.Message):
    __slots__ = ("hash_id",)
    HASH_ID_FIELD_NUMBER: _ClassVar[int]
    hash_id: str
    def __init__(self, hash_id: _Optional[str] = ...) -> None: ...

class Template(_message.Message):
    __slots__ = ("id", "hash_id", "name", "image", "tag", "env", "onstart", "runtype", "use_ssh", "ssh_direct", "recommended", "recommended_disk_space", "extra_filters", "creator_id", "created_at", "count_created")
    ID_FIELD_NUMBER: _ClassVar[int]
    HASH_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    ONSTART_FIELD_NUMBER: _ClassVar[int]
    RUNTYPE_FIELD_NUMBER: _ClassVar[int]
    USE_SSH_FIELD_NUMBER: _ClassVar[int]
    SSH_DIRECT_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDED_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDED_DISK_SPACE_FIELD_NUMBER: _ClassVar[int]
    EXTRA_FILTERS_FIELD_NUMBER: _ClassVar[int]
    CREATOR_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    COUNT_CREATED_FIELD_NUMBER: _ClassVar[int]
    id: int
    hash_id: str
    name: str
    image: str
    tag: str
    env: str
    onstart: str
    runtype: str
    use_ssh: bool
    ssh_direct: bool
    recommended: bool
    recommended_disk_space: int
    extra_filters: str
    creator_id: int
    created_at: str
    count_created: int
    def __init__(self, id: _Optional[int] = ..., hash_id: _Optional[str] = ..., name: _Optional[str] = ..., image: _Optional[str] = ..., tag: _Optional[str] = ..., env: _Optional[str] = ..., onstart: _Optional[str] = ..., runtype: _Optional[str] = ..., use_ssh: _Optional[bool] = ..., ssh_direct: _Optional[bool] = ..., recommended: _Optional[bool] = ..., recommended_disk_space: _Optional[int] = ..., extra_filters: _Optional[str] = ..., creator_id: _Optional[int] = ..., created_at: _Optional[str] = ..., count_created: _Optional[int] = ...) -> None: ...

class TemplateList(_message.Message):
    __slots__ = ("templates", "count")
    TEMPLATES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    templates: _containers.RepeatedCompositeFieldContainer[Template]
    count: int
    def __init__(self, templates: _Optional[_Iterable[_Union[Template, _Mapping]]] = ..., count: _Optional[int] = ...) -> None: ...
