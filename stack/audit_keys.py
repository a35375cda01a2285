"""The key that signs what leaves the database: that of the environment, else that of the embedded stack."""

import os
from typing import Annotated

import typer

from audit.signing import Signer
from settings import Environment
from stack.secret_files import SecretFiles
from stack.state import StateFolder

KeyOption = Annotated[
    list[str] | None,
    typer.Option(
        help="What `nexus audit public-key` printed while it signed; of several keys, each.",
        show_default="that of AUDIT_SIGNING_KEY, or of the embedded stack",
    ),
]


def signer_of(state: StateFolder) -> Signer | None:
    """None where neither has one."""
    signers = _signers(state)
    return signers[0] if signers else None


def public_keys_of(state: StateFolder) -> list[str] | None:
    """Those that are trusted: of the key, and of the one before it where it is given."""
    return [signer.public_key for signer in _signers(state)] or None


def _signers(state: StateFolder) -> list[Signer]:
    keys = Environment(os.environ).optional_secret_keys("AUDIT_SIGNING_KEY")
    made = SecretFiles(state.secrets).read("audit_signing_key")
    return [Signer(key) for key in keys or ([] if made is None else [made.encode()])]
