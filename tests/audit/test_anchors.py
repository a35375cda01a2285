"""Anchors: signed lines outside of the database, of which a forged one is told from one that was cut off."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit.anchors import (
    AnchorRefused,
    FilePlace,
    WebhookPlace,
    anchors_of,
    make_anchor,
    read_anchors,
)
from audit.signing import Signer
from db.seals import Sealed
from domain.audit import Seal

SIGNER = Signer(b"a signing key for these tests alone")
NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def sealed(number: int) -> Sealed:
    seal = Seal(number=number, first_seq=number, last_seq=number, horizon=number, root=bytes(32), head=bytes(32))
    return Sealed(seal=seal, digest=seal.digest(bytes(32)))


def line(number: int, *, signer: Signer = SIGNER) -> str:
    return make_anchor(sealed(number), signer, now=NOW)


async def test_a_file_keeps_each_line_and_reads_them_back(tmp_path: Path) -> None:
    path = tmp_path / "another volume" / "anchors.jsonl"
    for number in (1, 2):
        await FilePlace(path).put(line(number))
    found = anchors_of(path, trusted=[SIGNER.public_key])
    assert {number: anchor.digest for number, anchor in found.good.items()} == {
        1: sealed(1).digest,
        2: sealed(2).digest,
    }
    assert list(anchors_of(path, trusted=[SIGNER.public_key], newest=1).good) == [2]


async def test_a_line_that_was_cut_off_by_a_kill_says_nothing_and_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "anchors.jsonl"
    await FilePlace(path).put(line(1))
    with path.open("a") as file:
        file.write(line(2)[:40])
    assert list(anchors_of(path, trusted=[SIGNER.public_key]).good) == [1]
    await FilePlace(path).put(line(3))
    assert list(anchors_of(path, trusted=[SIGNER.public_key]).good) == [1, 3]


def test_a_line_that_somebody_wrote_who_has_not_the_key_is_told_beside_the_good_ones() -> None:
    altered = json.dumps({**json.loads(line(1)), "last_seq": 7})
    for forged in (altered, line(1, signer=Signer(b"another key that somebody made up alone")), "{}", "[]", "7"):
        found = read_anchors([forged + "\n", line(2) + "\n"], trusted=[SIGNER.public_key])
        assert list(found.good) == [2]
        (bad,) = found.bad
        assert "none of ours" in str(bad)
    (bad,) = read_anchors([altered], trusted=None).bad
    assert "its signature does not fit" in str(bad)


def test_what_no_parser_takes_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "anchors.jsonl"
    path.write_bytes(b"\xff\xfe\n" + b"[" * 100_000 + b"\n" + line(1).encode() + b"\n")
    assert list(anchors_of(path, trusted=[SIGNER.public_key]).good) == [1]


def test_two_anchors_that_say_different_things_of_one_seal_are_told() -> None:
    other = make_anchor(Sealed(seal=sealed(1).seal, digest=bytes(32)), SIGNER, now=NOW)
    found = read_anchors([line(1), other], trusted=[SIGNER.public_key])
    assert found.good[1].digest == sealed(1).digest
    assert "says otherwise of seal 1" in str(found.bad[0])


@asynccontextmanager
async def answering(status: int) -> AsyncIterator[tuple[str, list[bytes]]]:
    """An address that answers so, and what was sent to it."""
    taken: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(each.split(b":")[1]) for each in head.split(b"\r\n") if each.lower().startswith(b"content-l")
        )
        taken.append(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/anchors?token=secret", taken


async def test_a_webhook_is_sent_the_line() -> None:
    async with answering(204) as (url, taken):
        await WebhookPlace(url).put(line(1))
    assert list(read_anchors([taken[0].decode()], trusted=[SIGNER.public_key]).good) == [1]


async def test_a_place_that_does_not_take_it_is_named_without_the_secrets_of_its_address(tmp_path: Path) -> None:
    async with answering(500) as (url, _):
        with pytest.raises(AnchorRefused, match="it answered 500") as refused:
            await WebhookPlace(url).put(line(1))
        assert "secret" not in str(refused.value)
    with pytest.raises(AnchorRefused, match="ConnectError") as refused:
        await WebhookPlace(url).put(line(1))
    assert "secret" not in str(refused.value)
    (tmp_path / "file").touch()
    with pytest.raises(AnchorRefused, match=r"Not a directory|exists"):
        await FilePlace(tmp_path / "file" / "anchors").put(line(1))


def test_what_the_key_before_signed_stays_good_while_it_is_given() -> None:
    before = Signer(b"the key that signed until yesterday alone")
    lines = [line(1, signer=before), line(2)]
    assert list(read_anchors(lines, trusted=[SIGNER.public_key, before.public_key]).good) == [1, 2]
    assert list(read_anchors(lines, trusted=[SIGNER.public_key]).good) == [2]
