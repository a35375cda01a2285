"""Every token that python-jose takes by itself and we must not; through the module and through the API."""

import ast
import hmac
import json
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jose import jwe, jws

import api as api_package
from api.tokens import AUDIENCE, ISSUER, TOKEN_TYPE, TokenExpired, TokenRefused, Tokens
from tests.api.books import id_of, session_of
from tests.api.conftest import KEY, TTL, Api

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOKENS = Tokens([KEY], ttl=TTL)
KID = json.loads(
    jws.base64url_decode(TOKENS.issue(id_of("trader"), session_of("trader"), now=NOW).text.split(".")[0].encode())
)["kid"]


def claims(now: datetime = NOW, **changes: Any) -> dict[str, Any]:
    issued_at = int(now.timestamp())
    ours = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(id_of("trader")),
        "sid": str(session_of("trader")),
        "jti": "1",
        "iat": issued_at,
        "nbf": issued_at,
        "exp": issued_at + int(TTL.total_seconds()),
        **changes,
    }
    return {name: value for name, value in ours.items() if value is not ...}


def signed(payload: dict[str, Any], *, key: bytes = KEY, algorithm: str = "HS256", **headers: Any) -> str:
    headers = {"typ": TOKEN_TYPE, "kid": KID, **headers}
    return jws.sign(payload, key, headers=headers, algorithm=algorithm)


def unsigned(payload: dict[str, Any]) -> str:
    parts = ({"alg": "none", "kid": KID, "typ": TOKEN_TYPE}, payload)
    return ".".join(urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def signed_by_hand(payload: dict[str, Any], *, key: bytes) -> str:
    """With a key that the library itself will not sign with."""
    parts = ({"alg": "HS256", "kid": KID, "typ": TOKEN_TYPE}, payload)
    signing = ".".join(urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    mac = hmac.digest(key, signing.encode(), "sha256")
    return f"{signing}.{urlsafe_b64encode(mac).decode().rstrip('=')}"


def altered(token: str, **changes: Any) -> str:
    """The token with other claims under the signature of the old ones."""
    header, payload, signature = token.split(".")
    found = json.loads(urlsafe_b64decode(payload + "=="))
    other = urlsafe_b64encode(json.dumps({**found, **changes}).encode()).decode().rstrip("=")
    return f"{header}.{other}.{signature}"


_CURVE_KEY = ec.generate_private_key(ec.SECP256R1())
PRIVATE_PEM = _CURVE_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC_PEM = _CURVE_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PUBLIC_DER_BASE64 = b64encode(
    _CURVE_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
)
SECONDS = int(TTL.total_seconds())
FORGED: dict[str, Callable[[datetime], str]] = {
    "no expiry": lambda now: signed(claims(now, exp=...)),
    "no audience": lambda now: signed(claims(now, aud=...)),
    "another audience": lambda now: signed(claims(now, aud="elsewhere")),
    "a list of audiences": lambda now: signed(claims(now, aud=[AUDIENCE])),
    "no issuer": lambda now: signed(claims(now, iss=...)),
    "another issuer": lambda now: signed(claims(now, iss="elsewhere")),
    "no start": lambda now: signed(claims(now, nbf=...)),
    "no instant of issue": lambda now: signed(claims(now, iat=...)),
    "no subject": lambda now: signed(claims(now, sub=...)),
    "a subject that is no id": lambda now: signed(claims(now, sub="root")),
    "no session": lambda now: signed(claims(now, sid=...)),
    "a session that is no id": lambda now: signed(claims(now, sid="1")),
    "no id": lambda now: signed(claims(now, jti=...)),
    "an empty id": lambda now: signed(claims(now, jti="")),
    "an expiry as text": lambda now: signed(claims(now, exp=str(int(now.timestamp()) + 60))),
    "an expiry that is true": lambda now: signed(claims(now, exp=True)),
    "an expiry beyond time": lambda now: signed(claims(now, exp=10**18)),
    "a longer life than ours": lambda now: signed(claims(now, exp=int(now.timestamp()) + SECONDS + 1)),
    "a start in the future": lambda now: signed(claims(now, nbf=int(now.timestamp()) + 60)),
    "another type": lambda now: signed(claims(now), typ="rt+jwt"),
    "the library's own type": lambda now: signed(claims(now), typ="JWT"),
    "a critical header": lambda now: signed(claims(now), crit=["exp"]),
    "an unencoded payload": lambda now: signed(claims(now), b64=False),
    "a key by address": lambda now: signed(claims(now), jku="https://example.test/keys"),
    "a certificate by address": lambda now: signed(claims(now), x5u="https://example.test/cert"),
    "a key of its own": lambda now: signed(claims(now), jwk={"kty": "oct", "k": "AA"}),
    "an unknown key id": lambda now: signed(claims(now), kid="0"),
    "another algorithm": lambda now: signed(claims(now), algorithm="HS512"),
    "no algorithm": lambda now: unsigned(claims(now)),
    "no type": lambda now: signed(claims(now), typ=None),
    "no key id": lambda now: signed(claims(now), kid=None),
    "a key id that is a list": lambda now: signed(claims(now), kid=[KID]),
    "a public key as the secret": lambda now: signed_by_hand(claims(now), key=PUBLIC_PEM),
    "a public key in base64 as the secret": lambda now: signed(claims(now), key=PUBLIC_DER_BASE64, kid=KID),
    "a signature by a curve": lambda now: jws.sign(
        claims(now), PRIVATE_PEM, headers={"typ": TOKEN_TYPE, "kid": KID}, algorithm="ES256"
    ),
    "an altered payload": lambda now: altered(signed(claims(now)), sub=str(id_of("admin"))),
    "a signature cut short": lambda now: signed(claims(now))[:-4],
    "no signature": lambda now: signed(claims(now)).rpartition(".")[0] + ".",
    "encrypted": lambda now: jwe.encrypt(
        json.dumps(claims(now)), KEY, encryption="A256GCM", algorithm="dir", cty=TOKEN_TYPE, kid=KID
    ).decode(),
    "another key": lambda now: signed(claims(now), key=b"x" * 32),
    "an empty key": lambda now: signed(claims(now), key=b""),
    "five megabytes": lambda now: signed(claims(now, padding="x" * 5_000_000)),
    "too much": lambda now: signed(claims(now, padding="x" * 4096)),
    "a payload that is no object": lambda now: jws.sign(
        b"[]", KEY, headers={"typ": TOKEN_TYPE, "kid": KID}, algorithm="HS256"
    ),
    "letters beyond ASCII": lambda now: signed(claims(now)) + "é",
    "no dots": lambda now: "token",
}


def test_token_speaks_for_its_user() -> None:
    issued = TOKENS.issue(id_of("trader"), session_of("trader"), now=NOW)
    found = TOKENS.verify(issued.text, now=NOW)

    assert (found.user_id, found.session_id) == (id_of("trader"), session_of("trader"))
    assert found.expires_at == issued.expires_at == NOW + TTL


def test_token_made_like_ours_is_taken() -> None:
    """The forgeries below differ from this one in a single thing each."""
    for token in (signed(claims()), signed_by_hand(claims(), key=KEY)):
        assert TOKENS.verify(token, now=NOW).user_id == id_of("trader")


def test_token_ends_with_its_time() -> None:
    token = TOKENS.issue(id_of("trader"), session_of("trader"), now=NOW).text

    TOKENS.verify(token, now=NOW + TTL - timedelta(seconds=1))
    with pytest.raises(TokenExpired):
        TOKENS.verify(token, now=NOW + TTL)


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
def test_forged_token_is_refused(forge: Callable[[datetime], str]) -> None:
    with pytest.raises(TokenRefused):
        TOKENS.verify(forge(NOW), now=NOW)


@pytest.mark.parametrize("name", [name for name in FORGED if name != "letters beyond ASCII"])
async def test_a1_to_a12_forged_token_is_401_at_the_api(api: Api, name: str) -> None:
    token = FORGED[name](datetime.now(UTC))
    answer = await api.http.get("/api/auth/profile", headers={"Authorization": f"Bearer {token}"})

    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_expired_token_is_told_apart(api: Api) -> None:
    token = TOKENS.issue(id_of("trader"), session_of("trader"), now=datetime.now(UTC) - TTL).text
    answer = await api.http.get("/api/auth/profile", headers={"Authorization": f"Bearer {token}"})

    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")


@pytest.mark.parametrize("key", [b"", b"x", b"x" * 31])
def test_short_key_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match="at least 32"):
        Tokens([KEY, key], ttl=TTL)


def test_jose_is_imported_by_the_tokens_alone() -> None:
    importers = {
        path.name
        for path in Path(api_package.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        if any(name.split(".")[0] == "jose" for name in _imported(node))
    }

    assert importers == {"tokens.py"}


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names]
