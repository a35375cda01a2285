"""Requests that are signed with an API key, as a program sends them.

What is signed is this text, in UTF-8, by HMAC-SHA256 under the key's secret, in hex:

    timestamp \\n nonce \\n METHOD \\n path[?query] \\n hex of the body's SHA-256 [\\n window]

1. Everything that decides what the request does is in the text, as it came over the wire. The window is in it
   where one is sent: whoever has caught a request cannot make it good for longer.
2. A signature is good for its window after its timestamp, and nothing from the future is taken.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Self
from uuid import UUID

from starlette.types import Scope

from api.errors import Problem

KEY_HEADER = "X-Nexus-Key"
WINDOW_DEFAULT_MS, WINDOW_MAX_MS = 5_000, 60_000
# How far a program's clock may be ahead of ours.
AHEAD_MAX = timedelta(seconds=1)
# A nonce outlives the longest window by as much again, since the clock of the books may differ from ours.
NONCE_KEPT = timedelta(milliseconds=2 * WINDOW_MAX_MS)

_TIMESTAMP = re.compile(r"[1-9][0-9]{11,13}")
_WINDOW = re.compile(r"[1-9][0-9]{0,4}")
_NONCE = re.compile(r"[A-Za-z0-9_-]{8,64}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class SignedHeaders:
    """The headers of a signed request; each has its form, and nothing of them is known to be true."""

    key_id: UUID
    timestamp: str
    nonce: str
    window: str | None
    signature: str

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Self:
        """Raises the problem of headers that cannot be those of a signed request."""
        given = {name: headers.get(name, "") for name in (KEY_HEADER, *_FORMS)}
        window = headers.get("X-Nexus-Window")
        try:
            key_id = UUID(given[KEY_HEADER])
        except ValueError as error:
            raise signature_refused() from error
        wrong = [name for name, form in _FORMS.items() if not form.fullmatch(given[name])]
        if window is not None and (not _WINDOW.fullmatch(window) or int(window) > WINDOW_MAX_MS):
            wrong.append("X-Nexus-Window")
        if wrong:
            raise _unauthorised("signature_malformed", f"missing or not of its form: {', '.join(wrong)}")
        return cls(
            key_id=key_id,
            timestamp=given["X-Nexus-Timestamp"],
            nonce=given["X-Nexus-Nonce"],
            window=window,
            signature=given["X-Nexus-Signature"],
        )

    @property
    def signed_at(self) -> datetime:
        return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(self.timestamp))

    def check_time(self, now: datetime) -> None:
        """Raise the problem of a signature that is not of now."""
        window = timedelta(milliseconds=WINDOW_DEFAULT_MS if self.window is None else int(self.window))
        if now - window <= self.signed_at <= now + AHEAD_MAX:
            return
        server_time = round(now.timestamp() * 1000)
        off = server_time - int(self.timestamp)
        told = f"{abs(off)} ms {'behind' if off > 0 else 'ahead of'}"
        raise _unauthorised(
            "clock_skew",
            f"the timestamp is {told} this server's time, {server_time}; set the clock, and sign again",
            members={"server_time": server_time},
        )

    def signs(self, secret: bytes, scope: Scope, body: bytes) -> bool:
        """Whether it is what the secret makes of this request, found out in the same time either way."""
        parts = [self.timestamp, self.nonce, scope["method"], target(scope), sha256(body).hexdigest()]
        signed = "\n".join([*parts, *([] if self.window is None else [self.window])])
        made = hmac.new(secret, signed.encode(), sha256).hexdigest()
        return hmac.compare_digest(made, self.signature)


_FORMS = {"X-Nexus-Timestamp": _TIMESTAMP, "X-Nexus-Nonce": _NONCE, "X-Nexus-Signature": _SIGNATURE}


def target(scope: Scope) -> str:
    """Path and query as they came over the wire, before anything was decoded."""
    path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


def about_key(key_id: UUID) -> str:
    """What the vault seals a key's secret about."""
    return f"API key {key_id}"


def signature_refused() -> Problem:
    """One answer whether the key is unknown, revoked or over, or the signature another."""
    detail = "the API key is not valid here, or the signature is not that of this request"
    return _unauthorised("signature_invalid", detail)


def nonce_reused() -> Problem:
    return _unauthorised("nonce_reused", "a request with this nonce was taken before; sign again, with a new one")


def _unauthorised(code: str, detail: str, *, members: Mapping[str, object] | None = None) -> Problem:
    return Problem(401, code, detail, headers={"WWW-Authenticate": "Nexus-HMAC-SHA256"}, members=members)
