"""What a REST call's path names is what is meant.

Envoy's transcoder binds path, query and body into one message, and the last one wins: `DELETE /instances/a?id=b`, or a
body that is an object posted back, would act on b. A client, a proxy or an audit log that goes by the path must be
right, so a call whose message says otherwise is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, unquote

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from controlplane.domain.errors import invalid

ORIGINAL_PATH = "x-envoy-original-path"

Check = Callable[[Message, Mapping[str, str | bytes]], None]
"""Raises InvalidArgument where a request message contradicts the path in the call's metadata."""

_VARIABLE = re.compile(r"\{(\w+)(?:=[^}]*)?\}")


def path_check(descriptor: MethodDescriptor) -> Check | None:
    """The check of one method; None where no binding has a variable."""
    rule = descriptor.GetOptions().Extensions[annotations_pb2.http]
    templates = [_template(one) for one in (rule, *rule.additional_bindings)]
    body = "" if rule.body == "*" else rule.body  # a message of its own: its members are no parameters
    patterns = [_pattern(template) for template in templates if "{" in template]
    if not patterns:
        return None

    def check(request: Message, metadata: Mapping[str, str | bytes]) -> None:
        path, _, query = str(metadata.get(ORIGINAL_PATH, "")).partition("?")
        for name, value in parse_qsl(query) if body else ():
            if name.startswith(f"{body}."):
                raise invalid(name, "is no parameter of this call", value)
        found = next((match for match in (pattern.fullmatch(path) for pattern in patterns) if match), None)
        for name, value in found.groupdict().items() if found else ():
            given = getattr(request, name)
            if given != unquote(value):
                raise invalid(name, "is named by the path, and cannot be given besides", given)

    return check


def _template(rule: http_pb2.HttpRule) -> str:
    kind = rule.WhichOneof("pattern")
    return "" if kind in (None, "custom") else str(getattr(rule, kind))


def _pattern(template: str) -> re.Pattern[str]:
    parts = _VARIABLE.split(template)  # text, variable, text, ...
    found = "".join(f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
    return re.compile(found + "/?")  # the transcoder takes a trailing slash, too
