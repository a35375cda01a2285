"""Ed25519 signatures: over what leaves the database, by a key that the database does not hold."""

import json
from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_PURPOSE = b"audit signing key\x00"


class SignatureWrong(Exception):
    """The document was not signed as it is by the key that it names, or not by the one that is trusted."""


class Signer:
    """Signs documents; `secret` is text of at least 32 bytes, from which the key is derived."""

    def __init__(self, secret: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(sha256(_PURPOSE + secret).digest())

    @property
    def public_key(self) -> str:
        """What verifies the signatures, as 44 characters of base64; it may be known to everybody."""
        return b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The document with the key's name and its signature."""
        signed = {**document, "key": self.public_key}
        return {**signed, "signature": b64encode(self._key.sign(canonical(signed))).decode()}


def check_signature(document: Mapping[str, Any], *, trusted: Collection[str] | None) -> None:
    """Raise SignatureWrong unless the document was signed by the key that it names, one of `trusted`."""
    named = document.get("key")
    if trusted is not None and named not in trusted:
        raise SignatureWrong(f"it is signed by the key {named}, and not by {' or '.join(trusted)}")
    signed = {name: value for name, value in document.items() if name != "signature"}
    try:
        key = Ed25519PublicKey.from_public_bytes(b64decode(str(named), validate=True))
        key.verify(b64decode(str(document.get("signature")), validate=True), canonical(signed))
    except (ValueError, InvalidSignature) as error:
        raise SignatureWrong("its signature does not fit its content") from error


def canonical(document: Mapping[str, Any]) -> bytes:
    """The bytes that are signed: JSON with sorted names and no blanks."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
