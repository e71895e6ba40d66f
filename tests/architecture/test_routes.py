"""Every route of the public API, from the descriptor image that Envoy reads, held against tests/routes.txt.

After a wanted change: `python -m tests.architecture.test_routes > tests/routes.txt`, and read the diff.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from controlplane import resources
from controlplane.bootstrap.dialects import DIALECTS
from controlplane.dialect import Dialect
from controlplane.edge.routes import Route, listeners

GOLDEN = Path(__file__).parents[1] / "routes.txt"
VERBS = ("get", "put", "post", "delete", "patch")


@dataclass(frozen=True, order=True)
class Binding:
    """One HTTP binding of an rpc."""

    path: str
    verb: str
    service: str
    rpc: str
    kind: str  # what the edge makes of it: call, sse or wait

    @property
    def shape(self) -> tuple[str, str]:
        """What the transcoder sees: names of path variables do not tell two bindings apart."""
        return self.verb, re.sub(r"\{[^}=]+(=[^}]*)?\}", lambda m: (m[1] or "=*")[1:], self.path)

    def __str__(self) -> str:
        return f"{self.service} {self.verb} {self.path} {self.rpc} {self.kind}"


def bindings(dialect: Dialect) -> Iterator[Binding]:
    """All bindings of the dialect's services."""
    image = descriptor_pb2.FileDescriptorSet.FromString(resources.DESCRIPTORS.read_bytes())
    for file in image.file:
        for service in file.service:
            name = f"{file.package}.{service.name}"
            if name in dialect.services:
                for method in service.method:
                    yield from _of_method(dialect, name, method)


def _of_method(dialect: Dialect, service: str, method: descriptor_pb2.MethodDescriptorProto) -> Iterator[Binding]:
    rule = method.options.Extensions[annotations_pb2.http]
    for one in (rule, *rule.additional_bindings):
        verb, path = _verb_and_path(one)
        if path:
            yield Binding(path, verb, service, method.name, _kind(dialect, path))


def _verb_and_path(rule: http_pb2.HttpRule) -> tuple[str, str]:
    if rule.HasField("custom"):
        return rule.custom.kind, rule.custom.path
    return next(((verb.upper(), getattr(rule, verb)) for verb in VERBS if rule.HasField(verb)), ("", ""))


def _kind(dialect: Dialect, path: str) -> str:
    """How the edge treats a call to the path on the dialect's port, by the first route that matches."""
    called = re.sub(r"\{[^}]+\}", "x", path)
    port = next(listener for listener in listeners(DIALECTS) if listener.name == dialect.name)
    routes = port.hosts[-1].routes  # whatever the host name
    return next((r.kind for r in routes if r.dialect == dialect and _matches(r, called)), "unreachable")


def _matches(route: Route, path: str) -> bool:
    if "prefix" in route.match:
        return path.startswith(str(route.match["prefix"]))
    regex = route.match["safe_regex"]
    assert isinstance(regex, dict)
    return re.fullmatch(regex["regex"], path) is not None


def render() -> str:
    """The golden file's text."""
    return "".join(f"{dialect.name} {binding}\n" for dialect in DIALECTS for binding in sorted(bindings(dialect)))


def test_routes_are_as_recorded() -> None:
    hint = "the API's routes changed; if wanted: python -m tests.architecture.test_routes > tests/routes.txt"
    assert render().splitlines() == GOLDEN.read_text().splitlines(), hint


def test_no_path_is_bound_twice() -> None:
    """Envoy takes such a configuration and then answers 404 to that path."""
    for dialect in DIALECTS:
        found = defaultdict(list)
        for binding in bindings(dialect):
            found[binding.shape].append(f"{binding.service}.{binding.rpc}")
        assert {shape: rpcs for shape, rpcs in found.items() if len(rpcs) > 1} == {}


def test_every_rpc_can_be_called_over_rest() -> None:
    pool = _pool()
    for dialect in DIALECTS:
        bound = {(binding.service, binding.rpc) for binding in bindings(dialect)}
        rpcs = {(name, method.name) for name in dialect.services for method in pool.FindServiceByName(name).methods}
        assert rpcs - bound == set()


def test_every_route_is_reachable_and_every_stream_is_sent_as_one() -> None:
    pool = _pool()
    for dialect in DIALECTS:
        for binding in bindings(dialect):
            method = pool.FindServiceByName(binding.service).methods_by_name[binding.rpc]
            assert binding.kind != "unreachable", f"{binding}: no claim of {dialect.name} covers its path"
            assert (binding.kind == "sse") == method.server_streaming, f"{binding}: see sse_paths of {dialect.name}"


def test_the_transcoder_can_render_error_details() -> None:
    """It renders only message types that the image holds."""
    assert message_factory.GetMessageClass(_pool().FindMessageTypeByName("google.rpc.ErrorInfo"))


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(resources.DESCRIPTORS.read_bytes()).file:
        pool.Add(file)
    return pool


if __name__ == "__main__":
    sys.stdout.write(render())
