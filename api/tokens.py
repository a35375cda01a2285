"""Access tokens: signed here, checked here, and nowhere else.

python-jose checks the signature and nothing else: with its own claim checks it takes tokens without expiry or
audience, of any `typ`, with unknown `crit` headers and of any size. So the rest is checked by this module:

1. The header is exactly `alg`, `kid` and `typ`, with our values.
2. Every claim is required, of its exact type, with our issuer and audience.
3. No token lives longer than the configured time, whatever it says.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from jose import jws
from jose.exceptions import JOSEError

ALGORITHM = "HS256"
TOKEN_TYPE = "at+jwt"  # noqa: S105 - the media type of RFC 9068, no secret
ISSUER = "nexus"
AUDIENCE = "nexus-api"
KEY_BYTES_MIN = 32
TOKEN_BYTES_MAX = 4096
CLOCK_LEEWAY = timedelta(seconds=5)


class TokenRefused(Exception):
    """The token is not one of ours, or no longer; the reason is for our log, not for its bearer."""


class TokenExpired(TokenRefused):
    """The token was ours and its time is over."""


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Whom a token speaks for. `role` is the role at issue; the books say what it is now."""

    user_id: UUID
    role: str
    token_id: str
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class IssuedToken:
    text: str
    expires_at: datetime


class Tokens:
    def __init__(self, key: bytes, *, ttl: timedelta) -> None:
        if len(key) < KEY_BYTES_MIN:
            raise ValueError(f"the signing key has {len(key)} bytes; it must have at least {KEY_BYTES_MIN}")
        self._key = key
        self._ttl = ttl
        self._headers = {"kid": sha256(b"kid:" + key).hexdigest()[:16], "typ": TOKEN_TYPE}

    def issue(self, user_id: UUID, role: str, *, now: datetime) -> IssuedToken:
        issued_at = int(now.timestamp())
        expires_at = issued_at + int(self._ttl.total_seconds())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "role": role,
            "jti": uuid4().hex,
            "iat": issued_at,
            "nbf": issued_at,
            "exp": expires_at,
        }
        text = jws.sign(claims, self._key, headers=self._headers, algorithm=ALGORITHM)
        return IssuedToken(text=text, expires_at=datetime.fromtimestamp(expires_at, UTC))

    def verify(self, token: str, *, now: datetime) -> Principal:
        """The principal of a token that is wholly ours and in force; raises TokenRefused or TokenExpired."""
        if len(token) > TOKEN_BYTES_MAX or not token.isascii():
            raise TokenRefused("too long, or not ASCII")
        try:
            # The header is read before the signature is checked, so that no header can steer the check.
            if jws.get_unverified_header(token) != {**self._headers, "alg": ALGORITHM}:
                raise TokenRefused("a header that we do not write")
            claims = json.loads(jws.verify(token, self._key, algorithms=[ALGORITHM]))
        except (JOSEError, ValueError, RecursionError) as error:
            raise TokenRefused(str(error)) from error
        if not isinstance(claims, dict):
            raise TokenRefused("claims that are no object")
        return self._principal(claims, now=now)

    def _principal(self, claims: dict[str, Any], *, now: datetime) -> Principal:
        if claims.get("iss") != ISSUER or claims.get("aud") != AUDIENCE:
            raise TokenRefused("another issuer or audience")
        issued_at, not_before, expires_at = (_instant(claims, name) for name in ("iat", "nbf", "exp"))
        if expires_at - issued_at > self._ttl:
            raise TokenRefused("a longer life than we give")
        if max(issued_at, not_before) > now + CLOCK_LEEWAY:
            raise TokenRefused("not in force yet")
        token_id, role = _text(claims, "jti"), _text(claims, "role")
        try:
            user_id = UUID(_text(claims, "sub"))
        except ValueError as error:
            raise TokenRefused("a subject that is no user id") from error
        if now >= expires_at:
            raise TokenExpired("expired")
        return Principal(user_id=user_id, role=role, token_id=token_id, expires_at=expires_at)


def _instant(claims: dict[str, Any], name: str) -> datetime:
    value = claims.get(name)
    if type(value) is not int:
        raise TokenRefused(f"no whole number of seconds in {name}")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise TokenRefused(f"no instant in {name}") from error


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise TokenRefused(f"no text in {name}")
    return value
