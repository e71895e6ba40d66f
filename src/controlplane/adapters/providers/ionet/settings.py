"""Settings of the io.net adapter."""

from __future__ import annotations

from dataclasses import dataclass, field

URL = "https://api.io.solutions"


@dataclass(frozen=True, slots=True)
class IonetSettings:
    """The key, and where the API is."""

    api_key: str = field(repr=False)
    url: str = URL
