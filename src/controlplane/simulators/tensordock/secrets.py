"""Public keys kept at TensorDock. That it knows one does not put it on a machine: cloud-init has to."""

from __future__ import annotations

import uuid
from typing import Any

from controlplane.simulators.calls import Call
from controlplane.simulators.machines import public_key
from controlplane.simulators.tensordock import answers
from controlplane.simulators.tensordock.orders import SecretBody
from controlplane.simulators.wire import Response, json_response


class Secrets:
    """The account's secrets, by id. Holds the handlers of their calls."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Any]] = {}

    def __contains__(self, secret_id: str) -> bool:
        return secret_id in self._kept

    def clear(self) -> None:
        """Forget them."""
        self._kept.clear()

    def list(self, call: Call) -> Response:
        """All, without their values."""
        found = [
            {"type": "secret", "id": secret_id, "attributes": attributes}
            for secret_id, attributes in self._kept.items()
        ]
        return json_response(200, {"data": {"secrets": found}})

    def add(self, call: Call) -> Response:
        """Keep one."""
        secret = answers.parsed(SecretBody, call).data.attributes
        if not public_key(secret.value):
            issue = {"code": "custom", "message": "Not a public SSH key", "path": ["data", "attributes", "value"]}
            return answers.invalid([issue])
        secret_id = str(uuid.uuid5(uuid.NAMESPACE_OID, secret.value))
        self._kept[secret_id] = {"name": secret.name, "secret_type": secret.secret_type}
        return json_response(201, {"data": {"type": "secret", "id": secret_id, "attributes": {"name": secret.name}}})

    def delete(self, call: Call) -> Response:
        """Forget one."""
        if self._kept.pop(call.path["id"], None) is None:
            return answers.errors(404, "Not Found", "Secret not found")
        return json_response(200, {"data": {"type": "success", "id": call.path["id"]}})
