"""Secrets that have to be read again, kept in the database under a key that the database does not have.

Sealed with AES-256-GCM under a key that is made from SECRET_KEY, for one purpose (`about`, such as whose secret it
is), so that a sealed secret opens nothing in another row. While a key is being changed, the one before it still
opens; `outdated` tells what is to be sealed anew.
"""

import hmac
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_MARK_BYTES, _NONCE_BYTES = 8, 12


class VaultKeyMissing(Exception):
    """The secret was sealed with a key that is no longer given; its owner needs a new one."""


class Vault:
    def __init__(self, keys: Sequence[bytes]) -> None:
        """`keys` with the newest first; it seals, and all of them open."""
        made = [hmac.digest(key, b"stored secrets", "sha256") for key in keys]
        self._keys = {hmac.digest(key, b"mark", "sha256")[:_MARK_BYTES]: AESGCM(key) for key in made}
        self._newest = next(iter(self._keys))

    def seal(self, secret: bytes, *, about: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return self._newest + nonce + self._keys[self._newest].encrypt(nonce, secret, about.encode())

    def open(self, sealed: bytes, *, about: str) -> bytes:
        """The secret that was sealed about just this. Raises VaultKeyMissing."""
        mark, nonce, rest = (
            sealed[:_MARK_BYTES],
            sealed[_MARK_BYTES:][:_NONCE_BYTES],
            sealed[_MARK_BYTES + _NONCE_BYTES :],
        )
        if mark not in self._keys:
            raise VaultKeyMissing(f"the secret of {about} was sealed with a former SECRET_KEY; give it anew")
        try:
            return self._keys[mark].decrypt(nonce, rest, about.encode())
        except InvalidTag as error:
            raise VaultKeyMissing(f"the secret of {about} is not as it was sealed; give it anew") from error

    def outdated(self, sealed: bytes) -> bool:
        return not sealed.startswith(self._newest)
