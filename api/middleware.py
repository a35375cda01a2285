"""What every request passes through, before and after its route."""

import logging
import re
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import Problem, response, unforeseen

BODY_BYTES_MAX = 64 * 1024
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
DOCS_PATHS = frozenset({"/docs", "/docs/oauth2-redirect"})

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# The interactive documentation is a page of FastAPI with an inline script and a viewer from a public CDN.
_DOCS_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data: https://fastapi.tiangolo.com; "
    "script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

_log = logging.getLogger("api")


class RequestEdge:
    """The outermost layer: a request id for each request, headers for each answer, a problem for each failure."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers["Content-Security-Policy"] = _DOCS_POLICY if scope["path"] in DOCS_PATHS else _POLICY
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                # What was found out before the route was known to fail.
                headers.update(scope["state"].get("headers", {}))
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            _log.exception("request %s failed: %s %r", request_id, scope["method"], scope["path"])
            if started:
                raise
            await response(unforeseen(), request_id)(scope, receive, send_with_headers)


class BodyLimit:
    """Refuses bodies above 64 KiB, before they are read where their length is stated."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = Headers(scope=scope).get("content-length", "0")
        if not stated.isdecimal() or int(stated[:20]) > BODY_BYTES_MAX:
            problem = Problem(413, "body_too_large", f"a body has at most {BODY_BYTES_MAX} bytes")
            await response(problem, scope["state"]["request_id"])(scope, receive, send)
            return
        size = 0

        async def receive_counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > BODY_BYTES_MAX:
                # FastAPI hands this exception through, and the installed handler makes it a problem.
                raise HTTPException(413, f"a body has at most {BODY_BYTES_MAX} bytes")
            return message

        await self._app(scope, receive_counted, send)
