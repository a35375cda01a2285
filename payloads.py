"""What Temporal keeps of our messages, encrypted: whoever reaches its Web UI or its store reads its histories.

1. Every payload and every failure's message and stack is encrypted with AES-256-GCM before it leaves the process.
   Ids, names and search attributes are not; `workflows/search_attributes.py` says what they hold.
2. What was written before there was a key stays readable, and a new key reads what the one before it wrote.
"""

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

ENCODING = b"binary/encrypted"
_MARK_BYTES, _NONCE_BYTES = 8, 12


class PayloadUnreadable(Exception):
    """It was encrypted with a key that is not given here, or is not what was encrypted."""


class EncryptedPayloads(PayloadCodec):
    def __init__(self, keys: Sequence[bytes]) -> None:
        """`keys` with the newest first; it encrypts, and all of them decrypt."""
        made = [hmac.digest(key, b"workflow payloads", "sha256") for key in keys]
        self._keys = {
            hmac.digest(key, b"mark", "sha256")[:_MARK_BYTES].hex().encode(): AESGCM(key) for key in made
        }
        self._newest = next(iter(self._keys))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._decrypt(payload) for payload in payloads]

    def _encrypt(self, payload: Payload) -> Payload:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        content = self._keys[self._newest].encrypt(nonce, payload.SerializeToString(), self._newest)
        return Payload(metadata={"encoding": ENCODING, "key": self._newest}, data=nonce + content)

    def _decrypt(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        mark = payload.metadata.get("key", b"")
        if mark not in self._keys:
            raise PayloadUnreadable(
                f"a payload is encrypted with the key {mark.decode(errors='replace')}, which is not given here; "
                "set it as TEMPORAL_CODEC_KEY or TEMPORAL_CODEC_KEY_PREVIOUS"
            )
        nonce, content = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            return Payload.FromString(self._keys[mark].decrypt(nonce, content, mark))
        except (InvalidTag, ValueError) as error:
            raise PayloadUnreadable("a payload is not what was encrypted; somebody changed it") from error


def data_converter(keys: Sequence[bytes]) -> DataConverter:
    """The one converter of every client and worker; without keys, what Temporal keeps is in clear."""
    if not keys:
        return pydantic_data_converter
    return replace(
        pydantic_data_converter,
        payload_codec=EncryptedPayloads(keys),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
