"""What every request passes through, before and after its route."""

import asyncio
import logging
import re
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import Problem, Retry, response, unforeseen
from api.rights import methods_at
from domain.origins import Origin, origin

BODY_BYTES_MAX = 64 * 1024
BODY_SECONDS_MAX = 10.0
# Above the longest `wait_ms` that a caller may ask for.
REQUEST_SECONDS_MAX = 90.0
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
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
        origin.set(_origin(scope, request_id))
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
                if message["status"] == 405 and (methods := methods_at(scope["path"])):
                    # The router names those of one route alone, where several share the path.
                    headers["Allow"] = ", ".join(sorted(methods))
                if scope["scheme"] == "https":
                    headers["Strict-Transport-Security"] = "max-age=31536000"
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


def _origin(scope: Scope, request_id: str) -> Origin:
    """The trace is the caller's where they follow one (W3C Trace Context), else one that begins here."""
    traced = _TRACEPARENT.fullmatch(Headers(scope=scope).get("traceparent", ""))
    address = (scope.get("client") or (None,))[0]
    return Origin(address=address, request_id=request_id, trace_id=traced[1] if traced else uuid4().hex)


class TimeLimit:
    """Ends a request that takes longer than any that waits on purpose; what it began may have been done."""

    def __init__(self, app: ASGIApp, *, seconds: float = REQUEST_SECONDS_MAX) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        limit = asyncio.timeout(self._seconds)
        try:
            async with limit:
                await self._app(scope, receive, send_noted)
        except TimeoutError:
            if started or not limit.expired():
                raise
            detail = f"the request was not answered within {self._seconds:g} s; look whether it has acted"
            problem = Problem(503, "request_timeout", detail, retry=Retry.UNSAFE)
            await response(problem, scope["state"]["request_id"])(scope, receive, send)


class BodyLimit:
    """Refuses bodies above 64 KiB, before they are read where their length is stated, and those that trickle."""

    def __init__(self, app: ASGIApp, *, seconds: float = BODY_SECONDS_MAX) -> None:
        self._app = app
        self._seconds = seconds

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

        give_up_at = asyncio.get_running_loop().time() + self._seconds
        whole = False

        async def receive_counted() -> Message:
            nonlocal size, whole
            # Behind the body comes the end of the connection, which may take as long as it likes.
            try:
                async with asyncio.timeout_at(None if whole else give_up_at):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(408, f"a body has to arrive within {self._seconds:g} s") from error
            whole = not message.get("more_body", False)
            size += len(message.get("body", b""))
            if size > BODY_BYTES_MAX:
                # FastAPI hands this exception through, and the installed handler makes it a problem.
                raise HTTPException(413, f"a body has at most {BODY_BYTES_MAX} bytes")
            return message

        await self._app(scope, receive_counted, send)
