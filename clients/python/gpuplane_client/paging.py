"""List methods all page in one way; so one reader serves them all."""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


def items_of(answer: Message) -> Any:
    """The one repeated field of a List answer."""
    for field in answer.DESCRIPTOR.fields:
        if field.is_repeated:
            return getattr(answer, field.name)
    raise TypeError(f"{answer.DESCRIPTOR.name} is not the answer of a List method")


def next_token(answer: Any) -> str:
    """Token of the next page; empty after the last, and for lists too small to be paged."""
    return str(getattr(answer, "next_page_token", ""))


def next_page(request: M, token: str) -> M:
    """The same query for the page behind the token."""
    copy = type(request)()
    copy.CopyFrom(request)
    setattr(copy, "page_token", token)  # noqa: B010 (Message declares no such attribute)
    return copy
