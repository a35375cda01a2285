"""The key that signs what leaves the database: that of the environment, else that of the embedded stack."""

import os
from typing import Annotated

import typer

from audit.signing import Signer
from settings import Environment
from stack.secret_files import SecretFiles
from stack.state import StateFolder

KeyOption = Annotated[
    str | None,
    typer.Option(
        help="What `nexus audit public-key` printed when the anchors were begun.",
        show_default="that of AUDIT_SIGNING_KEY, or of the embedded stack",
    ),
]


def signer_of(state: StateFolder) -> Signer | None:
    """None where neither has one."""
    read = Environment(os.environ)
    if read.optional("AUDIT_SIGNING_KEY") is not None:
        return Signer(read.secret_key("AUDIT_SIGNING_KEY"))
    made = SecretFiles(state.secrets).read("audit_signing_key")
    return None if made is None else Signer(made.encode())


def public_key_of(state: StateFolder) -> str | None:
    signer = signer_of(state)
    return None if signer is None else signer.public_key
