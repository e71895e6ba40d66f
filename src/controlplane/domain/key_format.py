"""How the secrets of API keys look: every kind of key has a format, and every format belongs to one dialect."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from controlplane.domain.principal import CANONICAL_DIALECT, SCOPES

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECK = 6
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class KeyFormat:
    """A prefix, base62 characters, and a checksum in the last six of them: a typo is told without a look-up.

    A key opens the dialect it belongs to and no other. `scopes` are those that it can carry; `default_scopes` those
    that it gets when its maker names none (None: all of `scopes` that the maker has).
    """

    prefix: str
    dialect: str = CANONICAL_DIALECT
    length: int = 36  # after the prefix, checksum included
    scopes: tuple[str, ...] = SCOPES
    default_scopes: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """What callers name it by: the prefix without its last underscore."""
        return self.prefix.rstrip("_")

    def mint(self, entropy: bytes) -> str:
        """A secret from at least 24 random bytes."""
        body = _base62(int.from_bytes(entropy, "big"), self.length - _CHECK)
        return f"{self.prefix}{body}{self._checksum(body)}"

    def well_formed(self, secret: str) -> bool:
        """Prefix, length and checksum hold."""
        body, check = secret[len(self.prefix) : -_CHECK], secret[-_CHECK:]
        return (
            secret.startswith(self.prefix)
            and len(secret) == len(self.prefix) + self.length
            and secret.isascii()
            and check == self._checksum(body)
        )

    def recognisable(self, secret: str) -> str:
        """As much of a secret as may be shown."""
        return secret[: len(self.prefix) + _SHOWN]

    def _checksum(self, body: str) -> str:
        return _base62(zlib.crc32((self.prefix + body).encode()), _CHECK)


CANONICAL_KEYS = KeyFormat("gp_live_")


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, rest = divmod(number, 62)
        digits.append(_ALPHABET[rest])
    return "".join(reversed(digits))
