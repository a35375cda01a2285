"""Secrets that the stack makes for itself, one file each, readable by its user alone."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SecretFiles:
    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / name

    def read(self, name: str) -> str | None:
        try:
            return self.path(name).read_text().strip() or None
        except FileNotFoundError:
            return None

    def read_or_make(self, name: str) -> str:
        """The secret of that name, made at its first use: 256 random bits."""
        found = self.read(name)
        if found is not None:
            return found
        made = secrets.token_urlsafe(32)
        self.write(name, made)
        return made

    def write(self, name: str, value: str) -> Path:
        """Store the value whole or not at all, also when the machine stops in between."""
        unfinished = self.path(f".{name}.new")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        return unfinished.replace(self.path(name))
