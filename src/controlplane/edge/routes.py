"""Which dialect answers what on which port: the dialect records worked out into listeners and routes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from controlplane.dialect import OWNERLESS_REPLIES, Claim, Dialect, LocalReply


@dataclass(frozen=True)
class Route:
    """One route of a dialect: what it matches, and how its calls behave."""

    dialect: Dialect
    match: Mapping[str, object]  # Envoy's RouteMatch
    kind: str  # `call`, `sse` or `wait`
    breadth: tuple[bool, int]  # sorts the narrow before the broad


@dataclass(frozen=True)
class Host:
    """A virtual host: the names it goes by, and its routes, the first that matches winning."""

    name: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]


@dataclass(frozen=True)
class Listener:
    """One port, and whose errors it speaks where no route says."""

    name: str
    port_offset: int
    default_replies: tuple[LocalReply, ...]
    hosts: tuple[Host, ...]


def listeners(dialects: Sequence[Dialect]) -> list[Listener]:
    """The main port, shared by all dialects, and one port for each dialect that has its own."""
    main = next(d for d in dialects if d.port_offset == 0)
    named = tuple(_own_host(d, d.hosts) for d in dialects if d.hosts)
    shared = Host("main", ("*",), _ordered(route for d in dialects for route in _routes(d, d.claims)))
    own = [Listener(d.name, d.port_offset, d.local_replies, (_own_host(d, ("*",)),)) for d in dialects if d.port_offset]
    return [Listener(main.name, 0, OWNERLESS_REPLIES, (*named, shared)), *own]


def _own_host(dialect: Dialect, domains: tuple[str, ...]) -> Host:
    return Host(dialect.name, domains, _ordered(_routes(dialect, (Claim("/"),))))


def _ordered(routes: Iterable[Route]) -> tuple[Route, ...]:
    """Envoy takes the first route that matches, so the narrower claim stands first, whoever's it is."""
    return tuple(sorted(routes, key=lambda route: route.breadth))


_WHOLE_PATH = 1 << 16  # longer than any prefix


def _routes(dialect: Dialect, claims: Iterable[Claim]) -> Iterator[Route]:
    """As few routes as can be: each holds a descriptor pool of its own, 2.6 MB of Envoy's memory."""
    special = {"sse": dialect.sse_paths, "wait": dialect.wait_paths}
    exact = defaultdict(list)
    for claim in claims:
        if not claim.path.endswith("/"):
            kinds = [kind for kind, regexes in special.items() if any(re.fullmatch(r, claim.path) for r in regexes)]
            exact[claim.bearer, (*kinds, "call")[0]].append(_regex(claim.path))
            continue
        yield _route(dialect, {"prefix": claim.path}, claim.bearer, "call", len(claim.path))
        for kind, regexes in special.items():
            inside = [regex for regex in regexes if regex.startswith(claim.path)]
            if inside:
                yield _route(dialect, _any_of(inside), claim.bearer, kind, len(claim.path) + 1)
    for (bearer, kind), paths in exact.items():
        yield _route(dialect, _any_of(paths), bearer, kind, _WHOLE_PATH)


def _regex(path: str) -> str:
    return "[^/]+".join(re.escape(part) for part in re.split(r"\{[a-z_]+\}", path))


def _route(dialect: Dialect, path: Mapping[str, object], bearer: str, kind: str, length: int) -> Route:
    # The scheme's name has no case (RFC 9110, 11.1); a key's has, which the server sees to.
    token = {"name": "authorization", "string_match": {"prefix": f"Bearer {bearer}", "ignore_case": True}}
    match = {**path, "headers": [token]} if bearer else path
    return Route(dialect, match, kind, breadth=(not bearer, -length))


def _any_of(regexes: Iterable[str]) -> dict[str, object]:
    return {"safe_regex": {"regex": f"({'|'.join(regexes)})/?"}}  # the transcoder takes a trailing slash, too
