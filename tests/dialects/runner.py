"""Plays a dialect's documented exchanges, written down as data, through the real Envoy.

A file `examples.yaml` is a list of exchanges, played in order:

    - name: create answers 202 with the operation
      request: {method: POST, path: /v1/instances, headers: {Idempotency-Key: "${run}"}, body: {gpu_type: cpu}}
      response:
        status: 202
        headers: {Operation-Id: <uuid>, content-type: application/json}
        body: {operation_id: "${operation}", state: pending, created_at: <time>, ...}
      save: {operation: operation_id}      # variable: path into the answer's body, or `header:Name`
      until: 20                            # repeat for so many seconds until the answer is as expected

`key: none` sends no key, `key: ${other}` that one, anything absent the dialect's key of credentials.json. `${run}` is
new in every play. A body in angle brackets is a placeholder (PLACEHOLDERS); an object must have exactly the members
that are given, unless `...` is among them; so must a list its items, unless its last is `...`.
"""

from __future__ import annotations

import http.client
import json
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REST = "..."
"""More members, or more items, may follow."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")

PLACEHOLDERS: dict[str, Callable[[Any], bool]] = {
    "<any>": lambda value: True,
    "<string>": lambda value: isinstance(value, str) and value != "",
    "<int>": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "<number>": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "<list>": lambda value: isinstance(value, list),
    "<object>": lambda value: isinstance(value, dict),
    "<uuid>": lambda value: isinstance(value, str) and _UUID.fullmatch(value) is not None,
    "<time>": lambda value: isinstance(value, str) and _TIME.fullmatch(value) is not None,
    "<instance>": lambda value: isinstance(value, str) and re.fullmatch(r"inst_[0-9a-v]{26}", value) is not None,
    "<hex64>": lambda value: isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None,
}


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        """Parsed if it is JSON, None if it is empty, else the text."""
        if not self.text:
            return None
        return json.loads(self.text) if "json" in self.headers.get("content-type", "") else self.text


@dataclass(frozen=True)
class Way:
    """How a client reaches a dialect: its port, or the main port, or the main port under a host name."""

    name: str
    target: str  # host:port
    host: str = ""

    def call(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Reply:
        """One exchange over HTTP/1.1 on a connection of its own."""
        connection = http.client.HTTPConnection(self.target, timeout=30)
        try:
            sent = headers | ({"Host": self.host} if self.host else {})
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read().decode())
        finally:
            connection.close()


def examples_of(dialect: str) -> list[dict[str, Any]]:
    """The dialect's exchanges."""
    found: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / dialect / "examples.yaml").read_text())
    return found


class Play:
    """One pass over a dialect's exchanges, with the variables that they save."""

    def __init__(self, way: Way, key: str, **variables: str) -> None:
        self.way = way
        self.variables: dict[str, Any] = {"key": key, "run": uuid.uuid4().hex, **variables}

    def all(self, examples: list[dict[str, Any]]) -> None:
        """Play them; fails with every difference of the first that is not as written."""
        for example in examples:
            self.one(example)

    def one(self, example: dict[str, Any]) -> None:
        """Play one, repeating it while `until` lasts."""
        ends = time.monotonic() + float(example.get("until", 0))
        while True:
            reply = self._ask(self._filled(example["request"]))
            wrong = self._differences(self._filled(example["response"]), reply)
            if not wrong or time.monotonic() >= ends:
                break
            time.sleep(0.1)
        assert not wrong, f"{self.way.name}: {example['name']}:\n  " + "\n  ".join(wrong) + f"\n  answer: {reply}"
        for name, path in example.get("save", {}).items():
            self.variables[name] = _at(reply, path)

    def _ask(self, request: dict[str, Any]) -> Reply:
        key = request.get("key", self.variables["key"])
        headers = {} if key == "none" else {"Authorization": f"Bearer {key}"}
        body = request.get("body")
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        return self.way.call(request["method"], request["path"], headers | request.get("headers", {}), body)

    def _filled(self, value: Any) -> Any:
        """With variables put in; one that is a whole string keeps its type."""
        if isinstance(value, dict):
            return {self._filled(name): self._filled(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self._filled(one) for one in value]
        if not isinstance(value, str):
            return value
        if whole := re.fullmatch(r"\$\{(\w+)\}", value):
            return self.variables[whole[1]]
        return re.sub(r"\$\{(\w+)\}", lambda found: str(self.variables[found[1]]), value)

    def _differences(self, wanted: dict[str, Any], reply: Reply) -> list[str]:
        wrong = [] if reply.status == wanted["status"] else [f"status {reply.status}, not {wanted['status']}"]
        for name, value in wanted.get("headers", {}).items():
            got = reply.headers.get(name.lower())
            if value == "<absent>":
                wrong += [f"header {name} is {got!r}, not absent"] if got is not None else []
            elif not (got is not None and not differences(value, got, "")):
                wrong.append(f"header {name} is {got!r}, not {value!r}")
        return wrong + (differences(wanted["body"], reply.body, "body") if "body" in wanted else [])


def differences(wanted: Any, got: Any, where: str) -> list[str]:
    """What is not as wanted, each with its place."""
    if isinstance(wanted, str) and wanted in PLACEHOLDERS:
        return [] if PLACEHOLDERS[wanted](got) else [f"{where} is {got!r}, not {wanted}"]
    if isinstance(wanted, dict) and isinstance(got, dict):
        names = wanted.keys() - {REST}
        wrong = [f"{where} lacks {name}" for name in sorted(names - got.keys())]
        if REST not in wanted:
            wrong += [f"{where} has {name}: {got[name]!r}" for name in sorted(got.keys() - names)]
        return wrong + [
            line for name in names & got.keys() for line in differences(wanted[name], got[name], f"{where}.{name}")
        ]
    if isinstance(wanted, list) and isinstance(got, list):
        items = wanted[:-1] if wanted and wanted[-1] == REST else wanted
        if len(got) < len(items) or (items is wanted and len(got) > len(items)):
            return [f"{where} has {len(got)} items, not {len(items)}"]
        return [line for n, one in enumerate(items) for line in differences(one, got[n], f"{where}[{n}]")]
    same = type(wanted) is type(got) or {type(wanted), type(got)} == {int, float}
    return [] if same and wanted == got else [f"{where} is {got!r}, not {wanted!r}"]


def _at(reply: Reply, path: str) -> Any:
    if path.startswith("header:"):
        return reply.headers[path[7:].lower()]
    value = reply.body
    for part in path.split("."):
        value = value[int(part)] if part.isdigit() else value[part]
    return value
