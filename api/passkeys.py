"""Passkeys (WebAuthn): what a browser is asked to sign, and whether it did. The one module that knows the library.

1. The authenticator has to verify its user: the library asks for that only when it is told to.
2. Origin and relying party are exactly ours, and so is the challenge, which the books give out for one use.
3. A counter that did not rise refuses, as does one that another request has raised meanwhile.
"""

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import webauthn
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, parse_client_data_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from db.factors import Passkey
from db.users import User

CHALLENGE_BYTES = 32


class PasskeyRefused(Exception):
    """What the browser sent is no answer to what it was asked; the reason is for our log."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A new passkey, as its authenticator described it."""

    credential_id: bytes
    public_key: bytes
    sign_count: int


class Passkeys:
    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._rp_id = urlsplit(origin).hostname or ""

    def creation(self, user: User, known: Iterable[Passkey], *, challenge: str) -> dict[str, Any]:
        """The options of `navigator.credentials.create`."""
        options = webauthn.generate_registration_options(
            rp_id=self._rp_id,
            rp_name="Nexus",
            user_name=user.username,
            user_id=user.id.bytes,
            challenge=base64url_to_bytes(challenge),
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.DISCOURAGED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=_descriptors(known),
        )
        found: dict[str, Any] = json.loads(webauthn.options_to_json(options))
        return found

    def request(self, known: Iterable[Passkey], *, challenge: str) -> dict[str, Any]:
        """The options of `navigator.credentials.get`."""
        options = webauthn.generate_authentication_options(
            rp_id=self._rp_id,
            challenge=base64url_to_bytes(challenge),
            allow_credentials=_descriptors(known),
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        found: dict[str, Any] = json.loads(webauthn.options_to_json(options))
        return found

    def made(self, credential: dict[str, Any], *, challenge: str) -> Made:
        """The passkey that was made for this challenge. Raises PasskeyRefused."""
        try:
            verified = webauthn.verify_registration_response(
                credential=credential,
                expected_challenge=base64url_to_bytes(challenge),
                expected_rp_id=self._rp_id,
                expected_origin=self._origin,
                require_user_verification=True,
            )
        except (WebAuthnException, ValueError, KeyError, TypeError) as error:
            raise PasskeyRefused(str(error)) from error
        return Made(
            credential_id=verified.credential_id,
            public_key=verified.credential_public_key,
            sign_count=verified.sign_count,
        )

    def signed(
        self, credential: dict[str, Any], known: Iterable[Passkey], *, challenge: str
    ) -> tuple[Passkey, int]:
        """The passkey that signed this challenge, and its counter now. Raises PasskeyRefused."""
        passkey = next(
            (each for each in known if bytes_to_base64url(each.credential_id) == credential.get("id")), None
        )
        if passkey is None:
            raise PasskeyRefused("a passkey of nobody's, or of somebody else")
        try:
            verified = webauthn.verify_authentication_response(
                credential=credential,
                expected_challenge=base64url_to_bytes(challenge),
                expected_rp_id=self._rp_id,
                expected_origin=self._origin,
                credential_public_key=passkey.public_key,
                credential_current_sign_count=passkey.sign_count,
                require_user_verification=True,
            )
        except (WebAuthnException, ValueError, KeyError, TypeError) as error:
            raise PasskeyRefused(str(error)) from error
        return passkey, verified.new_sign_count


def new_challenge() -> str:
    return bytes_to_base64url(secrets.token_bytes(CHALLENGE_BYTES))


def challenge_in(credential: dict[str, Any]) -> str:
    """The challenge that the browser says it signed; whether it was given out, the books say.

    Raises PasskeyRefused.
    """
    try:
        client_data = parse_client_data_json(base64url_to_bytes(credential["response"]["clientDataJSON"]))
    except (WebAuthnException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PasskeyRefused(str(error)) from error
    return bytes_to_base64url(client_data.challenge)


def _descriptors(known: Iterable[Passkey]) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=each.credential_id) for each in known]
