"""Refusals in Vast.ai's words."""

from __future__ import annotations

from controlplane.simulators.wire import Response, json_response, text


def error(status: int, code: str, message: str) -> Response:
    """The usual shape of an error."""
    return json_response(status, {"success": False, "error": code, "msg": message})


def no_such_ask(ask_id: int, form: str) -> Response:
    """The offer cannot be had; its three forms go by their status codes."""
    if form == "410":
        return error(410, "no_such_ask", f"Instance type by id {ask_id} is not available.")
    message = f"error 404/3603: no_such_ask Instance type by id {ask_id} is not available."
    code = {"success": False, "error": "invalid_args", "msg": message, "ask_id": ask_id}
    return json_response(int(form), code)


def no_such_instance(machine_id: str) -> Response:
    """The instance does not exist, or no more."""
    return error(404, "no_such_instance", f"Instance {machine_id} not found.")


def no_funds() -> Response:
    """The account cannot pay; the words at create are not documented."""
    return error(400, "insufficient_credit", "Your account lacks credit; see the billing page.")


def unauthorized(form: str) -> Response:
    """A bad key, or none; 404 is the market's usual way with a bad one."""
    if form == "401":
        return json_response(401, {"success": False, "error": "auth_error", "msg": "Invalid or expired API key"})
    if form in ("403", "none"):
        return error(403, "auth_error", "This action requires login. Please try again.")
    return error(404, "auth_error", "Invalid user key")


def too_many(form: str, retry_after_s: int) -> Response:
    """A broken rate limit, as text or JSON, with Retry-After only when asked for."""
    headers = {"retry-after": str(retry_after_s)} if retry_after_s else {}
    words = "API requests too frequent"
    if form == "json":
        return json_response(429, {"detail": words}, headers)
    return text(429, f"{words}: endpoint threshold=1.0", headers)


def quota_exceeded(reset_at: int) -> Response:
    """The day's searches are used up."""
    body = {"success": False, "error": "search_quota_exceeded", "msg": "Daily search quota exceeded."}
    return json_response(429, body, {"x-ratelimit-reset": str(reset_at)})
