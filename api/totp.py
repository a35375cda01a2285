"""Time-based one-time passwords (RFC 6238): SHA-1, six digits, thirty seconds, as authenticator apps have them.

The code of this step and that of the one before are taken, so that one which was read and typed in time still
counts; that is longer than the thirty seconds of ASVS 6.5.5 by the time of typing. No code counts twice: the books
keep the newest step that was used, and take only later ones.
"""

import hmac
import secrets
from base64 import b32encode
from datetime import datetime
from urllib.parse import quote, urlencode

SECRET_BYTES = 20
STEP_SECONDS = 30
DIGITS = 6


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def code_at(secret: bytes, step: int) -> str:
    mac = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    place = mac[-1] & 0x0F
    number = int.from_bytes(mac[place : place + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def step_of(secret: bytes, code: str, *, now: datetime) -> int | None:
    """The step that the code is of, if it is this one or the one before; None for any other code."""
    current = int(now.timestamp()) // STEP_SECONDS
    found = None
    for step in (current - 1, current):
        if hmac.compare_digest(code_at(secret, step).encode(), code.encode()):
            found = step
    return found


def base32(secret: bytes) -> str:
    return b32encode(secret).decode().rstrip("=")


def uri(secret: bytes, *, username: str) -> str:
    """What an authenticator app reads from a picture."""
    asked = urlencode({"secret": base32(secret), "issuer": "Nexus", "digits": DIGITS, "period": STEP_SECONDS})
    return f"otpauth://totp/{quote(f'Nexus:{username}')}?{asked}"
