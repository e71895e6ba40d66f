"""The filter language of AIP-160, as far as flat records need it: text to a tree of comparisons.

`a = 1 b > 2`, `a = 1 AND (b = 2 OR NOT c = "x y")`, `-a = 1`. As that document says, OR binds tighter than AND, and
things side by side are joined by AND. Operators: = != < <= > >= and : (has). Values are words or quoted.
"""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

LONGEST, MOST_COMPARISONS, DEEPEST = 4096, 64, 16

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<op><=|>=|!=|[=<>:])|(?P<mark>[()]|-(?=[A-Za-z(]))"""
    r"""|(?P<word>[^\s()<>=!:"']+)|(?P<bad>\S))"""
)
_ESCAPE = re.compile(r"\\(.)")


class FilterError(ValueError):
    """What is wrong, where (counted from 1), and the word that stands there."""

    def __init__(self, rule: str, position: int, word: str) -> None:
        super().__init__(rule)
        self.rule, self.position, self.word = rule, position, word


class Token(NamedTuple):
    """A piece of the text. kind: text (quoted), op, mark, word, bad or end."""

    kind: str
    value: str
    position: int


class Comparison(NamedTuple):
    """`field op value`."""

    field: Token
    op: str
    value: Token


class Negation(NamedTuple):
    """NOT or `-`."""

    inner: Node


class Junction(NamedTuple):
    """Parts joined by AND (`every`) or OR."""

    every: bool
    parts: tuple[Node, ...]


Node: TypeAlias = Comparison | Negation | Junction


def parse(text: str) -> Node | None:
    """The tree of a filter; None for an empty one. Raises FilterError."""
    if len(text) > LONGEST:
        raise FilterError(f"must be at most {LONGEST} characters", LONGEST + 1, text[LONGEST : LONGEST + 20])
    parser = _Parser(_tokens(text))
    if parser.token.kind == "end":
        return None
    tree = parser.conjunction(0)
    if parser.token.kind != "end":
        raise parser.error("has a parenthesis too many")
    return tree


def _tokens(text: str) -> list[Token]:
    found = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "bad"
        value = match[kind]
        if kind == "text":
            value = _ESCAPE.sub(r"\1", value[1:-1])
        found.append(Token(kind, value, match.start(kind) + 1))
    return [*found, Token("end", "", len(text) + 1)]


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._comparisons = 0

    @property
    def token(self) -> Token:
        return self._tokens[self._at]

    def error(self, rule: str, token: Token | None = None) -> FilterError:
        token = token or self.token
        return FilterError(rule, token.position, token.value or "the end")

    def _keyword(self, word: str) -> bool:
        if (self.token.kind, self.token.value) != ("word", word):
            return False
        self._at += 1
        return True

    def _mark(self, mark: str) -> bool:
        if (self.token.kind, self.token.value) != ("mark", mark):
            return False
        self._at += 1
        return True

    def conjunction(self, depth: int) -> Node:
        """expression = factor {[AND] factor}"""
        parts = [self._disjunction(depth)]
        while self._keyword("AND") or (self.token.kind, self.token.value) not in (("end", ""), ("mark", ")")):
            parts.append(self._disjunction(depth))
        return parts[0] if len(parts) == 1 else Junction(True, tuple(parts))

    def _disjunction(self, depth: int) -> Node:
        """factor = term {OR term}"""
        parts = [self._term(depth)]
        while self._keyword("OR"):
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else Junction(False, tuple(parts))

    def _term(self, depth: int) -> Node:
        if self._keyword("NOT") or self._mark("-"):
            return Negation(self._simple(depth))
        return self._simple(depth)

    def _simple(self, depth: int) -> Node:
        opening = self.token
        if not self._mark("("):
            return self._comparison()
        if depth >= DEEPEST:
            raise self.error(f"must not nest deeper than {DEEPEST}", opening)
        inner = self.conjunction(depth + 1)
        if not self._mark(")"):
            raise self.error("has a parenthesis that is not closed", opening)
        return inner

    def _comparison(self) -> Node:
        field = self.token
        if field.kind != "word" or field.value in ("AND", "OR", "NOT"):
            raise self.error("must have a field here")
        self._at += 1
        op = self.token
        if op.kind != "op":
            raise self.error(f"must have one of = != < <= > >= : after {field.value}")
        self._at += 1
        value = self.token
        if value.kind not in ("word", "text"):
            raise self.error(f"must have a value after {field.value} {op.value}")
        self._at += 1
        self._comparisons += 1
        if self._comparisons > MOST_COMPARISONS:
            raise self.error(f"must have at most {MOST_COMPARISONS} comparisons", field)
        return Comparison(field, op.value, value)
