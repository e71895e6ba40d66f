from google.api import annotations_pb2 as _annotations_pb2
from gpuplane.v1 import stray_pb2 as _stray_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStrayRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListStraysRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "provider", "kind")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    provider: str
    kind: _stray_pb2.StrayKind
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., provider: _Optional[str] = ..., kind: _Optional[_Union[_stray_pb2.StrayKind, str]] = ...) -> None: ...

class ListStraysResponse(_message.Message):
    __slots__ = ("strays", "next_page_token")
    STRAYS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    strays: _containers.RepeatedCompositeFieldContainer[_stray_pb2.Stray]
    next_page_token: str
    def __init__(self, strays: _Optional[_Iterable[_Union[_stray_pb2.Stray, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class AdoptStrayRequest(_message.Message):
    __slots__ = ("id", "account_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    account_id: str
    def __init__(self, id: _Optional[str] = ..., account_id: _Optional[str] = ...) -> None: ...

class DestroyStrayRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...
