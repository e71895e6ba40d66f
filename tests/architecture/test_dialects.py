"""What must hold of every dialect, whatever it speaks."""

from __future__ import annotations

import itertools

import pytest

from controlplane.api.methods import methods_of
from controlplane.api.scopes import OPERATOR, PUBLIC
from controlplane.bootstrap.dialects import DIALECTS
from controlplane.dialect import CANONICAL, REFUSALS, Dialect
from controlplane.domain.principal import SCOPES
from controlplane.domain.state import State

SPOKEN = [dialect for dialect in DIALECTS if dialect.name != CANONICAL.name]


@pytest.mark.parametrize("dialect", SPOKEN, ids=lambda dialect: dialect.name)
class TestDialect:
    def test_every_state_has_a_word(self, dialect: Dialect) -> None:
        assert set(dialect.states) == set(State)
        assert all(word and word == word.lower() for word in dialect.states.values())

    def test_envoy_answers_every_refusal_in_its_shape(self, dialect: Dialect) -> None:
        assert {reply.status for reply in dialect.local_replies} == {refusal.status for refusal in REFUSALS}

    def test_every_method_needs_a_scope_that_its_keys_can_have(self, dialect: Dialect) -> None:
        methods = {method.path for service in dialect.services for method in methods_of(service)}
        assert set(dialect.scopes) == methods
        assert set(dialect.scopes.values()) <= {PUBLIC, OPERATOR, *dialect.key_formats[0].scopes}

    def test_its_keys_are_its_own(self, dialect: Dialect) -> None:
        assert {form.dialect for form in dialect.key_formats} == {dialect.name}
        assert all(set(form.scopes) <= set(SCOPES) for form in dialect.key_formats)
        assert dialect.render_error is not None


def test_keys_ports_and_hosts_tell_dialects_apart() -> None:
    prefixes = [form.prefix for dialect in DIALECTS for form in dialect.key_formats]
    assert not any(one.startswith(other) for one, other in itertools.permutations(prefixes, 2))
    assert len({dialect.port_offset for dialect in DIALECTS}) == len(DIALECTS)
    hosts = [host for dialect in DIALECTS for host in dialect.hosts]
    assert len(set(hosts)) == len(hosts)
