"""The flight record of a trade on real parts: whole, signed, and found out when anything in it is changed."""

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from audit.anchors import make_anchor
from audit.flight import FlightBroken, TradeUnknown, check_flight, make_flight
from audit.signing import Signer
from db import audit_standing
from db.seals import newest_seal
from tests.db.auditing import seal, write
from tests.desk import Desk

SIGNER = Signer(b"a signing key for these tests alone")


async def fly(desk: Desk, *, anchored: bool = True) -> dict[str, Any]:
    """The record of a market order that was filled, with two seals between it and the anchor."""
    intent = desk.intent()
    handle, _ = await desk.open(intent)
    await desk.settled(intent)
    await seal(desk.database)
    await write(desk.database, "something else")
    await seal(desk.database)
    if anchored:
        async with desk.database.engine("sealer").begin() as connection:
            newest = await newest_seal(connection)
            assert newest is not None
            line = make_anchor(newest, SIGNER, now=datetime.now(UTC))
            await audit_standing.note_anchor(connection, newest.seal.number, line=line, places=["a file"])
    history = (await handle.fetch_history()).to_json_dict()
    async with desk.database.engine("owner").connect() as connection:
        made = await make_flight(
            connection, intent.trade_id, history=history, signer=SIGNER, now=datetime.now(UTC)
        )
    # As it comes back from its file.
    record: dict[str, Any] = json.loads(json.dumps(made))
    return record


async def test_a_record_holds_every_stage_with_what_went_over_the_wire_and_proves_itself(desk: Desk) -> None:
    record = await fly(desk)

    proven = check_flight(record, trusted=[SIGNER.public_key])

    assert proven.sealed == proven.rows > 3
    assert proven.anchored_at is not None
    assert record["trade"]["state"] == "filled"
    (attempt,) = record["attempts"]
    assert attempt["request"]["symbol"] == "EURUSD"
    assert attempt["request"]["magic"] == record["trade"]["magic"]
    assert attempt["answer"]["retcode"] == 10009
    assert record["reservation"][0]["state"] == "settled"
    assert [deal["volume"] for deal in record["deals"]] == ["0.1"]
    assert {line["trade_id"] for line in record["ledger"]} <= {record["trade"]["id"]}
    assert len(record["workflow_history"]["events"]) > 10
    actions = [json.loads(each["row"])["action"] for each in record["audit"]["rows"]]
    assert {"trade.accepted", "trade.reserved", "trade.submitted", "trade.filled_in_full"} <= set(actions)


def forge_row(record: dict[str, Any]) -> None:
    row = record["audit"]["rows"][1]
    row["row"] = row["row"].replace("trade.", "traffic.")


def swap_rows(record: dict[str, Any]) -> None:
    first, second = record["audit"]["rows"][:2]
    first["row"], second["row"] = second["row"], first["row"]


def forge_seal(record: dict[str, Any]) -> None:
    record["audit"]["seals"][0]["root"] = "00" * 32


def drop_seal(record: dict[str, Any]) -> None:
    del record["audit"]["seals"][-1]


def forge_anchor(record: dict[str, Any]) -> None:
    anchor = json.loads(record["audit"]["anchor"])
    record["audit"]["anchor"] = json.dumps({**anchor, "at": "2020-01-01T00:00:00+00:00"})


@pytest.mark.parametrize("forge", [forge_row, swap_rows, forge_seal, drop_seal, forge_anchor])
async def test_what_is_changed_afterwards_is_found_even_by_whoever_can_sign_again(
    desk: Desk, forge: Callable[[dict[str, Any]], None]
) -> None:
    record = await fly(desk)
    forged = copy.deepcopy(record)
    forge(forged)
    with pytest.raises(FlightBroken, match="its signature does not fit"):
        check_flight(forged, trusted=[SIGNER.public_key])

    unsigned = {name: value for name, value in forged.items() if name not in {"key", "signature"}}
    with pytest.raises(FlightBroken):
        check_flight(SIGNER.sign(unsigned), trusted=[SIGNER.public_key])


async def test_a_record_that_somebody_else_signed_is_refused(desk: Desk) -> None:
    record = await fly(desk, anchored=False)
    assert check_flight(record, trusted=[SIGNER.public_key]).anchored_at is None
    with pytest.raises(FlightBroken, match="it is signed by the key"):
        check_flight(record, trusted=[Signer(b"another key that nobody ever used at all").public_key])
    with pytest.raises(FlightBroken, match="no flight record"):
        check_flight(SIGNER.sign({"flight": 1}), trusted=[SIGNER.public_key])


async def test_a_trade_that_is_not_in_the_books_has_no_record(desk: Desk) -> None:
    unknown = desk.intent().trade_id
    async with desk.database.engine("owner").connect() as connection:
        with pytest.raises(TradeUnknown, match=str(unknown)):
            await make_flight(connection, unknown, history=None, signer=SIGNER, now=datetime.now(UTC))
