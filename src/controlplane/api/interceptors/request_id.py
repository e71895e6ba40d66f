"""The id under which a call is found in the log."""

from __future__ import annotations

import re

import uuid_utils

_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,128}").fullmatch


def request_id_of(given: str | bytes | None) -> str:
    """The caller's `x-request-id` if it is well formed (it goes into logs and headers), else a new one."""
    if type(given) is str and _WELL_FORMED(given):
        return given
    return uuid_utils.uuid7().hex
