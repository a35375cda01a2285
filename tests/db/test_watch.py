"""Findings come into the books once, with their record, and leave when their cause does or a person says so."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from db import watch
from db.instruments import bound_slippage
from domain.errors import ContractsUnchanged
from domain.instruments import Instrument
from domain.orders import OrderState
from domain.watch import Finding, FindingKind, condition, leverage_findings
from tests.db.books import Books
from tests.factories import NOW, lots, make_instrument

OFF, UNLINKED = condition(FindingKind.ALGO_TRADING_OFF), condition(FindingKind.BROKER_DISCONNECTED)
SMALL = make_instrument(contract_size=Decimal(1000))


async def see(books: Books, *found: Finding) -> None:
    """A reading that shows these conditions and no other."""
    books.now += timedelta(seconds=1)
    async with books.broker.begin() as connection:
        await watch.see_conditions(connection, books.account, found, read_at=books.now, actor="sender:test")


async def see_symbols(books: Books, *cards: Instrument) -> None:
    books.now += timedelta(seconds=1)
    async with books.broker.begin() as connection:
        await watch.see_instruments(connection, books.account, cards, read_at=books.now, actor="sender:test")


async def accept(books: Books, symbol: str = "EURUSD") -> None:
    async with books.owner.begin() as connection:
        await watch.accept_contract(connection, books.account, symbol, actor="command:jane", reason="announced")


async def alerts(books: Books) -> list[tuple[str, str, bool]]:
    """Kind and severity of each alert, oldest first, and whether its cause has ended."""
    rows = await books.rows("SELECT kind, severity, cleared_at FROM alerts ORDER BY id")
    return [(row["kind"], row["severity"], row["cleared_at"] is not None) for row in rows]


async def recorded(books: Books) -> list[str]:
    """What audit log and event stream both say happened to the account."""
    audited = await books.rows(
        "SELECT action FROM audit_log WHERE actor IN ('sender:test', 'command:jane') ORDER BY id"
    )
    told = await books.rows(
        "SELECT kind AS action FROM events WHERE account_id IS NOT NULL AND trade_id IS NULL"
        " AND kind ~ '^(condition|contract|terms|leverage|symbol)' ORDER BY id"
    )
    assert audited == told
    return [row["action"] for row in audited]


async def verdict(books: Books, **changes: Any) -> tuple[OrderState, list[str]]:
    trade = await books.reserved(**changes)
    denials = await books.scalar("SELECT denials FROM trade_ledger WHERE id = :id", id=trade.id)
    return trade.state, [denial["code"] for denial in denials]


async def test_a_condition_is_alerted_once_and_cleared_when_it_ends(books: Books) -> None:
    await see(books, OFF)
    await see(books, OFF)
    assert await alerts(books) == [("algo_trading_off", "critical", False)]
    assert await recorded(books) == ["condition.began"]

    await see(books)
    assert await alerts(books) == [("algo_trading_off", "critical", True)]
    assert await books.rows("SELECT 1 FROM account_conditions") == []

    await see(books, OFF)
    assert await alerts(books) == [("algo_trading_off", "critical", True), ("algo_trading_off", "critical", False)]
    assert await recorded(books) == ["condition.began", "condition.ended", "condition.began"]


async def test_conditions_begin_and_end_each_on_its_own(books: Books) -> None:
    await see(books, OFF)
    await see(books, OFF, UNLINKED)
    await see(books, UNLINKED)

    assert await books.rows("SELECT kind FROM account_conditions") == [{"kind": "broker_disconnected"}]
    assert await alerts(books) == [
        ("algo_trading_off", "critical", True),
        ("broker_disconnected", "critical", False),
    ]


async def test_a_mismatch_ends_nothing_that_it_could_not_have_shown(books: Books) -> None:
    await see(books, OFF)
    mismatch = condition(FindingKind.ACCOUNT_MISMATCH, shown="login 99999")
    async with books.broker.begin() as connection:
        await watch.begin_conditions(connection, books.account, [mismatch], read_at=NOW, actor="sender:test")

    kinds = await books.rows("SELECT kind FROM account_conditions ORDER BY kind")
    assert [row["kind"] for row in kinds] == ["account_mismatch", "algo_trading_off"]


async def test_an_order_is_denied_by_name_while_a_condition_lasts(books: Books) -> None:
    await see(books, OFF)
    trade = await books.reserved()
    (denial,) = await books.scalar("SELECT denials FROM trade_ledger WHERE id = :id", id=trade.id)
    assert (trade.state, denial["code"]) == (OrderState.DENIED, "algo_trading_off")
    assert denial["message"] == "algo trading is off in the terminal: press the Algo Trading button"

    await see(books)
    assert await verdict(books) == (OrderState.PENDING, [])


async def test_a_changed_contract_waits_for_a_person_and_is_alerted_once(books: Books) -> None:
    await see_symbols(books, SMALL)
    await see_symbols(books, SMALL)

    async with books.owner.connect() as connection:
        (waiting,) = await watch.pending_contracts(connection)
    assert (waiting["account"], waiting["symbol"], waiting["term"]) == ("demo", "EURUSD", "contract_size")
    assert (waiting["was"], waiting["shown"]) == ("100000", "1000")
    assert await alerts(books) == [("contract_changed", "critical", False)]
    assert await verdict(books) == (OrderState.DENIED, ["contract_changed"])

    await accept(books)
    await see_symbols(books, SMALL)
    assert await verdict(books) == (OrderState.PENDING, [])
    assert await alerts(books) == [("contract_changed", "critical", True)]
    assert await recorded(books) == ["contract_changed", "contract.accepted"]
    detail = await books.scalar("SELECT detail FROM audit_log WHERE action = 'contract.accepted'")
    assert detail["reason"] == "announced"
    assert detail["changes"] == [{"symbol": "EURUSD", "term": "contract_size", "was": "100000", "shown": "1000"}]


async def test_a_contract_that_comes_back_needs_nobody(books: Books) -> None:
    await see_symbols(books, SMALL)
    await see_symbols(books, make_instrument())

    assert await books.rows("SELECT 1 FROM contract_changes") == []
    assert await alerts(books) == [("contract_changed", "critical", True), ("terms_changed", "warning", False)]
    assert await recorded(books) == ["contract_changed", "terms_changed", "contract.restored"]
    assert await verdict(books) == (OrderState.PENDING, [])


async def test_a_second_change_is_measured_from_what_was_accepted_and_alerted_again(books: Books) -> None:
    await see_symbols(books, SMALL)
    await see_symbols(books, replace(SMALL, contract_size=Decimal(10)))

    changes = await books.rows("SELECT was, shown FROM contract_changes")
    assert changes == [{"was": "100000", "shown": "10"}]
    assert [kind for kind, _, _ in await alerts(books)] == ["contract_changed", "contract_changed"]


async def test_what_is_only_told_is_told_once_and_blocks_nothing(books: Books) -> None:
    for _ in range(2):
        await see_symbols(books, make_instrument(volume_max=lots("50"), stops_level_points=20))

    assert await alerts(books) == [("terms_changed", "warning", False)] * 2
    assert await verdict(books) == (OrderState.PENDING, [])


async def test_a_vanished_symbol_opens_nothing_even_once_accepted_and_returns_by_itself(books: Books) -> None:
    suffixed = make_instrument(symbol="EURUSD.x")
    await see_symbols(books, suffixed)
    await see_symbols(books, suffixed)
    summary = await books.scalar("SELECT summary FROM alerts")
    assert summary == "account demo: the broker lists no EURUSD any more; new beside it is EURUSD.x"
    assert await verdict(books) == (OrderState.DENIED, ["symbol_vanished"])

    await accept(books)
    await see_symbols(books, suffixed)
    assert await verdict(books) == (OrderState.DENIED, ["symbol_vanished"])
    assert await books.rows("SELECT 1 FROM contract_changes") == []

    await see_symbols(books, suffixed, make_instrument())
    assert await verdict(books) == (OrderState.PENDING, [])


async def test_a_symbol_that_returns_with_another_contract_waits_for_a_person(books: Books) -> None:
    await see_symbols(books, make_instrument(symbol="XAUUSD"))
    await see_symbols(books, make_instrument(symbol="XAUUSD"), SMALL)
    assert await verdict(books) == (OrderState.DENIED, ["contract_changed"])


async def test_a_change_that_nobody_accepted_survives_the_symbols_absence(books: Books) -> None:
    await see_symbols(books, SMALL)
    await see_symbols(books, make_instrument(symbol="XAUUSD"))
    await see_symbols(books, make_instrument(symbol="XAUUSD"), SMALL)

    waiting = await books.rows("SELECT term, was, shown FROM contract_changes")
    assert waiting == [{"term": "contract_size", "was": "100000", "shown": "1000"}]


async def test_what_nobody_may_trade_here_is_nobodys_concern(books: Books) -> None:
    await books.run("UPDATE instruments SET allowed = false")
    await see_symbols(books, SMALL)
    assert (await alerts(books), await books.rows("SELECT 1 FROM contract_changes")) == ([], [])


async def test_nothing_is_accepted_that_does_not_wait(books: Books) -> None:
    with pytest.raises(ContractsUnchanged, match="no change of EURUSD on account demo waits"):
        await accept(books)
    assert await recorded(books) == []


async def test_a_changed_leverage_is_told(books: Books) -> None:
    async with books.broker.begin() as connection:
        found = leverage_findings(known=100, present=30)
        await watch.tell(connection, books.account, found, read_at=NOW, actor="sender:test")
    assert await books.scalar("SELECT summary FROM alerts") == "account demo: leverage is 1:30 instead of 1:100"
    assert await recorded(books) == ["leverage_changed"]


async def test_a_points_threshold_belongs_to_a_symbol_and_goes_with_its_setting(books: Books) -> None:
    async with books.broker.begin() as connection:
        assert await bound_slippage(connection, books.account.id, {"EURUSD": Decimal(20)}) == ()
        assert await bound_slippage(connection, books.account.id, {"NOSUCH": Decimal(1)}) == ("NOSUCH",)
    assert await books.scalar("SELECT slippage_points_max FROM instruments") is None


@pytest.mark.parametrize("role", ["api", "pipeline"])
async def test_only_the_sender_and_the_owner_change_what_the_watch_found(books: Books, role: str) -> None:
    await see(books, OFF)
    with pytest.raises(DBAPIError, match="permission denied"):
        await books.run("DELETE FROM account_conditions", role=role)
    with pytest.raises(DBAPIError, match="permission denied"):
        await books.run("DELETE FROM contract_changes", role=role)
    with pytest.raises(DBAPIError, match="permission denied"):
        await books.run("UPDATE alerts SET summary = 'nothing'", role="broker")
