"""Access tokens: signed here, checked here, and nowhere else. Refresh tokens are made here.

python-jose checks the signature and nothing else: with its own claim checks it takes tokens without expiry or
audience, of any `typ`, with unknown `crit` headers and of any size. So the rest is checked by this module:

1. The header is exactly `alg`, `kid` and `typ`, with our values; `kid` is one of our keys.
2. Every claim is required, of its exact type, with our issuer and audience.
3. No token lives longer than the configured time, whatever it says.
4. The newest key signs. Tokens of the one before it are taken until they expire, so that a key can be changed.
"""

import hmac
import json
import secrets
from collections.abc import Sequence
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
class Claims:
    """What a token says; whether its session goes on and its user is still let in, the books say."""

    user_id: UUID
    session_id: UUID
    token_id: str
    expires_at: datetime

    @property
    def token_hash(self) -> str:
        return digest(self.token_id)


@dataclass(frozen=True, kw_only=True)
class IssuedToken:
    text: str
    expires_at: datetime


class Tokens:
    def __init__(self, keys: Sequence[bytes], *, ttl: timedelta) -> None:
        """`keys` with the newest first; it signs, and the others are only believed."""
        for key in keys:
            if len(key) < KEY_BYTES_MIN:
                raise ValueError(f"the signing key has {len(key)} bytes; it must have at least {KEY_BYTES_MIN}")
        self._keys = {_kid(key): key for key in keys}
        self._kid = _kid(keys[0])
        self._ttl = ttl
        # A key of its own for each use, so that nothing which one of them makes is worth anything to the other.
        self._refresh_keys = [hmac.digest(key, b"refresh tokens", "sha256") for key in keys]

    def issue(self, user_id: UUID, session_id: UUID, *, now: datetime) -> IssuedToken:
        issued_at = int(now.timestamp())
        expires_at = issued_at + int(self._ttl.total_seconds())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "sid": str(session_id),
            "jti": uuid4().hex,
            "iat": issued_at,
            "nbf": issued_at,
            "exp": expires_at,
        }
        text = jws.sign(claims, self._keys[self._kid], headers=_header(self._kid), algorithm=ALGORITHM)
        return IssuedToken(text=text, expires_at=datetime.fromtimestamp(expires_at, UTC))

    def verify(self, token: str, *, now: datetime) -> Claims:
        """The claims of a token that is wholly ours and in force; raises TokenRefused or TokenExpired."""
        if len(token) > TOKEN_BYTES_MAX or not token.isascii():
            raise TokenRefused("too long, or not ASCII")
        try:
            # The header is read before the signature is checked, so that no header can steer the check.
            header = jws.get_unverified_header(token)
            kid = str(header.get("kid"))
            if kid not in self._keys or header != {**_header(kid), "alg": ALGORITHM}:
                raise TokenRefused("a header that we do not write")
            claims = json.loads(jws.verify(token, self._keys[kid], algorithms=[ALGORITHM]))
        except (JOSEError, ValueError, RecursionError) as error:
            raise TokenRefused(str(error)) from error
        if not isinstance(claims, dict):
            raise TokenRefused("claims that are no object")
        return self._claims(claims, now=now)

    def successors(self, refresh_token: str) -> list[str]:
        """The refresh tokens that may follow this one, the one to issue first.

        They are reckoned and not drawn, so that the answer to a repeat is the same without any token being stored.
        """
        return [hmac.digest(key, refresh_token.encode(), "sha256").hex() for key in self._refresh_keys]

    def _claims(self, claims: dict[str, Any], *, now: datetime) -> Claims:
        if claims.get("iss") != ISSUER or claims.get("aud") != AUDIENCE:
            raise TokenRefused("another issuer or audience")
        issued_at, not_before, expires_at = (_instant(claims, name) for name in ("iat", "nbf", "exp"))
        if expires_at - issued_at > self._ttl:
            raise TokenRefused("a longer life than we give")
        if max(issued_at, not_before) > now + CLOCK_LEEWAY:
            raise TokenRefused("not in force yet")
        found = Claims(
            user_id=_id(claims, "sub"),
            session_id=_id(claims, "sid"),
            token_id=_text(claims, "jti"),
            expires_at=expires_at,
        )
        if now >= expires_at:
            raise TokenExpired("expired")
        return found


def new_secret() -> str:
    """256 bits of chance, to be kept by their bearer and stored by their hash alone."""
    return secrets.token_hex(32)


def digest(secret: str) -> str:
    """The SHA-256 by which a token is stored and found; it is no password, so that nothing slower is needed."""
    return sha256(secret.encode()).hexdigest()


def _kid(key: bytes) -> str:
    return sha256(b"kid:" + key).hexdigest()[:16]


def _header(kid: str) -> dict[str, str]:
    return {"kid": kid, "typ": TOKEN_TYPE}


def _id(claims: dict[str, Any], name: str) -> UUID:
    try:
        return UUID(_text(claims, name))
    except ValueError as error:
        raise TokenRefused(f"no id in {name}") from error


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
