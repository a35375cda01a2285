"""`python -m stack.codec_server --origin http://127.0.0.1:8233`: decrypts what the Temporal Web UI shows.

It decrypts for whoever reaches it, so it listens on this machine alone; the proxy that logs people in to the Web
UI may hand on to it. Another page in the same browser gets no answer from it: it answers the UI's origin alone.
"""

import argparse
import json
import os
import sys
from typing import Any

import uvicorn
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payloads

from payloads import EncryptedPayloads, PayloadUnreadable
from settings import SettingsError, TemporalSettings

DEFAULT_PORT = 8235

_BODY_BYTES_MAX = 4 * 1024 * 1024


def codec_app(codec: EncryptedPayloads, *, origin: str) -> Starlette:
    """`origin` is where the browser has the Web UI from, as `http://127.0.0.1:8233`."""

    async def decode(request: Request) -> JSONResponse:
        if request.headers.get("origin", origin) != origin:
            return _refusal(403, f"only the Web UI of {origin} may ask")
        try:
            asked = ParseDict(json.loads(await _body(request)), Payloads())
            payloads = await codec.decode(list(asked.payloads))
        except (ValueError, RecursionError, ParseError) as error:
            return _refusal(400, f"the body is no list of payloads: {error}")
        except PayloadUnreadable as error:
            return _refusal(422, str(error))
        return JSONResponse(MessageToDict(Payloads(payloads=payloads)))

    cors = Middleware(
        CORSMiddleware,
        allow_origins=[origin],
        allow_methods=["POST"],
        allow_headers=["content-type", "x-namespace", "authorization"],
    )

    async def ready(_: Request) -> Response:
        return Response()

    routes = [Route("/decode", decode, methods=["POST"]), Route("/ready", ready)]
    return Starlette(routes=routes, middleware=[cors])


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _BODY_BYTES_MAX:
            raise ValueError(f"it has more than {_BODY_BYTES_MAX} bytes")
    return body


def _refusal(status: int, message: str) -> JSONResponse:
    body: dict[str, Any] = {"message": message}
    return JSONResponse(body, status_code=status)


def main() -> int:
    """Serve with the keys of the environment."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    parser.add_argument("--origin", required=True)
    words = parser.parse_args()
    try:
        keys = TemporalSettings.from_environ(os.environ).codec_keys
    except SettingsError as error:
        print(f"codec server: {error}", file=sys.stderr)
        return 2
    if not keys:
        print("codec server: TEMPORAL_CODEC_KEY is not set (or give TEMPORAL_CODEC_KEY_FILE)", file=sys.stderr)
        return 2
    app = codec_app(EncryptedPayloads(keys), origin=words.origin)
    uvicorn.run(app, host="127.0.0.1", port=words.port, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
