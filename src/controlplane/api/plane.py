"""What servicers act on, whichever API they speak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from controlplane.api.vitals import NoVitals, Vitals
from controlplane.domain.errors import NotFound
from controlplane.domain.key_format import CANONICAL_KEYS, KeyFormat
from controlplane.domain.principal import Principal, Scope
from controlplane.usecases import accounts
from controlplane.usecases.core import Core
from controlplane.usecases.hub import EventHub
from controlplane.usecases.keys import KeyAuthenticator
from controlplane.usecases.tokens import Tokens

DEFAULT_CURRENCY = "USD"


@dataclass(frozen=True, slots=True)
class Plane:
    """What servicers act on."""

    core: Core
    tokens: Tokens
    hub: EventHub
    authenticator: KeyAuthenticator
    key_formats: tuple[KeyFormat, ...] = (CANONICAL_KEYS,)  # of all dialects that are served
    vitals: Vitals = NoVitals()  # noqa: RUF009 without state
    options: Mapping[str, Any] = field(default_factory=dict)  # settings of dialects: those named `<dialect>_...`


def own(caller: Principal) -> Scope:
    """The caller's account alone, for an operator too: sums over accounts of several currencies mean nothing."""
    return Scope(caller.account_id)


async def currency_of(core: Core, caller: Principal) -> str:
    """The currency of the caller's account. An operator has no account: the default."""
    try:
        return (await accounts.account_of(core, caller.account_id)).currency
    except NotFound:
        return DEFAULT_CURRENCY
