"""Anchors: signed lines that say how far the chain had come, kept where the database's keepers cannot reach.

A chain alone cannot show that its end was cut off, or that it was made anew from some row on; an anchor does.
"""

import asyncio
import json
import os
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import httpx

from audit.signing import SignatureWrong, Signer, check_signature
from db.seals import Sealed
from domain.audit_check import Anchor
from version import code_version

_WITHIN_SECONDS = 5.0


class AnchorForged(Exception):
    """A line that is no anchor of ours; `key` is a number of its own for what it says."""

    def __init__(self, message: str, *, line: str) -> None:
        super().__init__(message)
        self.key = int.from_bytes(sha256(line.encode()).digest()[:7])


class AnchorRefused(Exception):
    """A place did not take the anchor."""


class Place(Protocol):
    """Somewhere outside of the database."""

    name: str

    async def put(self, line: str) -> None:
        """Keep the line; raises AnchorRefused."""


class FilePlace:
    """A file on another volume, to which lines are added and which is flushed to its disk."""

    def __init__(self, path: Path) -> None:
        self.name = f"file {path}"
        self._path = path

    async def put(self, line: str) -> None:
        await asyncio.to_thread(self._append, line)

    def _append(self, line: str) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a+b") as file:
                end = file.seek(0, os.SEEK_END)
                # What a full disk or a kill left unfinished must not swallow this line.
                whole = end == 0 or (file.seek(end - 1) == end - 1 and file.read(1) == b"\n")
                file.write(line.encode() + b"\n" if whole else b"\n" + line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise AnchorRefused(f"{self.name}: {error.strerror}") from error


class WebhookPlace:
    """An address that takes the line as the JSON body of a POST."""

    def __init__(self, url: str) -> None:
        # Its query may hold a secret.
        self.name = f"webhook {httpx.URL(url).copy_with(query=None, userinfo=b'')}"
        self._url = url

    async def put(self, line: str) -> None:
        headers = {"Content-Type": "application/json"}
        try:
            async with httpx.AsyncClient(timeout=_WITHIN_SECONDS) as client:
                answer = await client.post(self._url, content=line, headers=headers)
        except httpx.HTTPError as error:
            raise AnchorRefused(f"{self.name}: {type(error).__name__}") from error
        if not answer.is_success:
            raise AnchorRefused(f"{self.name}: it answered {answer.status_code}")


def make_anchor(sealed: Sealed, signer: Signer, *, now: datetime) -> str:
    document = {
        "format": 1,
        "seal": sealed.seal.number,
        "last_seq": sealed.seal.last_seq,
        "digest": sealed.digest.hex(),
        "at": now.isoformat(),
        "version": code_version(),
    }
    return json.dumps(signer.sign(document), separators=(",", ":"))


@dataclass(frozen=True)
class Anchors:
    """Those that were signed by a key that is trusted, by their seals, and what else was found among them."""

    good: dict[int, Anchor]
    bad: list[AnchorForged]


def read_anchors(lines: Iterable[str], *, trusted: Collection[str] | None) -> Anchors:
    """What the lines say. A line that was cut off while it was written is no JSON, and says nothing."""
    found = Anchors({}, [])
    for line in lines:
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            continue
        try:
            anchor = _anchor(document, trusted=trusted)
            known = found.good.setdefault(anchor.seal_number, anchor)
            if known.digest != anchor.digest:
                told = f"an anchor says otherwise of seal {anchor.seal_number} than one before it"
                found.bad.append(AnchorForged(told, line=line))
        except SignatureWrong as error:
            found.bad.append(AnchorForged(f"an anchor is none of ours: {error}", line=line))
    return found


def _anchor(document: Any, *, trusted: Collection[str] | None) -> Anchor:
    try:
        check_signature(document, trusted=trusted)
        return Anchor(
            seal_number=document["seal"],
            last_seq=document["last_seq"],
            digest=bytes.fromhex(document["digest"]),
            at=datetime.fromisoformat(document["at"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SignatureWrong("it has not the form of one") from error


def anchors_of(path: Path, *, trusted: Collection[str] | None, newest: int | None = None) -> Anchors:
    """The anchors of a file, or its `newest` ones; none while it does not exist. Raises OSError."""
    try:
        with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
            return read_anchors(deque(lines, maxlen=newest), trusted=trusted)
    except FileNotFoundError:
        return Anchors({}, [])
