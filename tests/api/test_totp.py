"""Codes of authenticator apps against the vectors of RFC 6238, and which of them still count."""

from base64 import b32decode
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from api import totp

SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        # Appendix B of RFC 6238 for SHA-1; its codes have eight digits, of which apps show the last six.
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    assert totp.code_at(SECRET, seconds // totp.STEP_SECONDS) == code[-totp.DIGITS :]


def test_a17_code_counts_in_its_step_and_the_next_and_no_longer() -> None:
    begins = datetime(2026, 3, 1, 12, tzinfo=UTC)
    step = int(begins.timestamp()) // totp.STEP_SECONDS
    code = totp.code_at(SECRET, step)

    def counts(after: float) -> bool:
        return totp.step_of(SECRET, code, now=begins + timedelta(seconds=after)) == step

    assert [counts(after) for after in (-1, 0, 29, 59, 60, 90)] == [False, True, True, True, False, False]


def test_other_codes_are_of_no_step() -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    step = int(now.timestamp()) // totp.STEP_SECONDS
    taken = {totp.code_at(SECRET, step - 1), totp.code_at(SECRET, step)}
    others = [f"{number:06d}" for number in range(0, 1_000_000, 997) if f"{number:06d}" not in taken]

    assert all(totp.step_of(SECRET, code, now=now) is None for code in others)


def test_app_gets_the_secret_by_its_address() -> None:
    secret = totp.new_secret()
    address = urlsplit(totp.uri(secret, username="a b"))
    asked = parse_qs(address.query)

    assert (address.scheme, address.netloc, address.path) == ("otpauth", "totp", "/Nexus%3Aa%20b")
    assert b32decode(asked["secret"][0]) == secret
    assert (asked["digits"], asked["period"], asked["issuer"]) == (["6"], ["30"], ["Nexus"])
