"""Calls under one credential, in whichever of two ways TensorDock takes it."""

from __future__ import annotations

from typing import Any

from controlplane.adapters.providers.http import Answer, MarketplaceClient
from controlplane.adapters.providers.http.values import natural
from controlplane.adapters.providers.tensordock.settings import TensordockSettings

DENIED = frozenset({401, 403})


def status_of(answer: Answer) -> int:
    """The status that counts: a refusal may come with HTTP 200 and its real status in the body."""
    told = natural(answer.value.get("status"), 599) if isinstance(answer.value, dict) else None
    return told if told is not None and told >= 400 else answer.status


class Access:
    """Sends calls with the bearer token. Where that is refused (as `/locations` was for some accounts) and there is
    an authorization id, the same call goes out once more with the credential in its query. A refused credential did
    nothing, so that is safe for purchases, too, if it was TensorDock that refused it: the page of a gateway does not
    tell what happened behind it."""

    def __init__(self, client: MarketplaceClient, settings: TensordockSettings) -> None:
        self._client = client
        self._bearer = {"Authorization": f"Bearer {settings.api_token}"}
        self._parameters = (
            {"api_key": settings.authorization_id, "api_token": settings.api_token}
            if settings.authorization_id
            else None
        )
        self._by_query: set[str] = set()  # first parts of paths that refused the bearer

    async def request(self, call: str, method: str, path: str, **options: Any) -> Answer:
        """As `MarketplaceClient.request`."""
        route = path.split("/")[1]
        if route not in self._by_query:
            answer = await self._client.request(call, method, path, headers=self._bearer, **options)
            if self._parameters is None or status_of(answer) not in DENIED or not answer.is_json:
                return answer
            self._by_query.add(route)  # also when there is no turn left for the repeat: the next call begins with it
            options["admitted"] = False
        answer = await self._client.request(call, method, path, query=self._parameters, **options)
        if status_of(answer) in DENIED:
            self._by_query.discard(route)
        return answer
