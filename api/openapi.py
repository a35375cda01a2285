"""The published description of the API: every answer that is no success is a problem document."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

DESCRIPTION = """
Trades in, each carried to its end; log in, send the token as `Authorization: Bearer …`, and refresh it in time.
A program signs its requests with an API key instead: `docs/api-keys.md`.

* Decimals are strings, in both directions. Instants are ISO 8601 with a zone.
* Every POST that acts carries `client_order_id` or an `Idempotency-Key` header; the same one again is answered
  with what the first one did, and never acts twice. A PUT again changes nothing.
* What opens trading again or loosens a limit takes a proof of who you are within the last five minutes (step-up),
  and, where two persons are asked for, is answered 202 until another person has approved it.
* How often a caller may ask is limited: `RateLimit-Policy` and `RateLimit` say how much is left, and one too many
  is answered 429 with `Retry-After`. Cancel, close and stop have a limit of their own, which nothing else uses up.
* What is no success is a problem document (RFC 9457) with a stable `code`, a `request_id` and `retry`:
  `safe` (nothing was changed, repeat at will), `after` (repeat it under the same id once `Retry-After` has
  passed, whether or not it acted) or `unsafe` (it may have acted: look before sending anything new).
"""

_PROBLEM = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "request_id", "retry"],
    "properties": {
        "type": {"type": "string", "examples": ["/problems/validation_failed"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable; for programs"},
        "request_id": {"type": "string", "description": "Names the request in our log"},
        "retry": {"type": "string", "enum": ["safe", "after", "unsafe"]},
        "server_time": {"type": "integer", "description": "With `clock_skew`: our clock, in milliseconds"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
_AS_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once."""
    if app.openapi_schema:
        return app.openapi_schema
    document = get_openapi(
        title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes, tags=app.openapi_tags
    )
    for path in document["paths"].values():
        for operation in path.values():
            answers = operation["responses"]
            answers.pop("422", None)
            answers["default"] = {"description": "A problem", "content": _AS_PROBLEM}
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = _PROBLEM
    app.openapi_schema = document
    return document
