"""The fill book on the real database against a model of it: any records, in any order, changed and repeated.

Longer: `make check ARGS="tests/db/test_fill_book.py --hypothesis-profile=long"`.
"""

import asyncio
import itertools
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from db.trades import Trade
from db.verify import verify
from domain.fills import Entry, Fill, FillKind, FillSource
from domain.money import ZERO, Lots
from domain.positions import MarginMode
from stack.scratch import cloned_database
from tests.db.books import Books, open_books
from tests.factories import NOW, lots, make_exit, make_fill

Answer = TypeVar("Answer")

CENTS = st.integers(-5_000, 5_000).map(lambda cents: Decimal(cents) / 100)
MONEY_KINDS = [FillKind.BALANCE, FillKind.CREDIT, FillKind.CORRECTION, FillKind.COMMISSION, FillKind.INTEREST]

_databases = itertools.count(1)


@dataclass(kw_only=True)
class Held:
    magic: int
    lots: Decimal


class FillBook(RuleBasedStateMachine):
    """`records` is the broker's history as it is now, `shown` what of it is booked."""

    admin_url: ClassVar[str]
    margin_mode: ClassVar[MarginMode] = MarginMode.HEDGING

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.records: dict[int, Fill] = {}
        self.shown: dict[int, Fill] = {}
        self.trades: list[Trade] = []
        self.open_lots: dict[int, Decimal] = {}
        self.tickets = itertools.count(1)
        self.positions = itertools.count(7001)

    def wait(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return self.runner.run(work)

    @initialize()
    def books_are_opened(self) -> None:
        self.books: Books = self.wait(self._open())

    async def _open(self) -> Books:
        name = f"fill_book_{next(_databases)}"
        database = await self.stack.enter_async_context(cloned_database(self.admin_url, name=name))
        return await self.stack.enter_async_context(open_books(database, margin_mode=self.margin_mode))

    # The broker's history grows and changes.

    @rule(parts=st.integers(1, 3), commission=CENTS)
    def an_order_opens_a_position(self, parts: int, commission: Decimal) -> None:
        trade = self.wait(self.books.accepted(volume=lots("0.30")))
        position = next(self.positions)
        for _ in range(parts):
            self.record(
                make_fill(
                    magic=trade.progress.magic,
                    broker_order_id=position,
                    position_id=position,
                    volume=lots("0.10"),
                    commission=commission,
                )
            )
        self.trades.append(trade)
        self.open_lots[position] = Decimal("0.10") * parts

    @precondition(lambda self: any(self.open_lots.values()))
    @rule(data=st.data(), ours=st.booleans())
    def another_order_adds_to_a_position(self, data: Any, *, ours: bool) -> None:
        position = self.draw_held(data)
        self.record(make_fill(**self.maker(ours=ours), position_id=position, volume=lots("0.10")))
        self.open_lots[position] += Decimal("0.10")

    @precondition(lambda self: any(self.open_lots.values()))
    @rule(data=st.data(), ours=st.booleans(), profit=CENTS)
    def an_order_turns_a_position(self, data: Any, profit: Decimal, *, ours: bool) -> None:
        position = self.draw_held(data)
        volume = Lots(self.open_lots[position] + Decimal("0.10"))
        self.record(
            make_exit(
                **self.maker(ours=ours), position_id=position, entry=Entry.INOUT, volume=volume, profit=profit
            )
        )
        self.open_lots[position] = Decimal("0.10")

    @precondition(lambda self: any(self.open_lots.values()))
    @rule(data=st.data(), profit=CENTS, swap=CENTS)
    def somebody_closes_a_part(self, data: Any, profit: Decimal, swap: Decimal) -> None:
        position = self.draw_held(data)
        volume = data.draw(st.sampled_from([Decimal("0.05"), self.open_lots[position]]), label="lots")
        self.open_lots[position] -= volume
        self.record(
            make_exit(
                magic=0,
                broker_order_id=10_000 + len(self.records),
                position_id=position,
                volume=Lots(volume),
                profit=profit,
                swap=swap,
            )
        )

    @rule(volume=st.sampled_from(["0.01", "0.20"]), profit=CENTS)
    def somebody_trades_by_hand(self, volume: str, profit: Decimal) -> None:
        position = next(self.positions)
        held = {"broker_order_id": position, "position_id": position, "magic": 0, "volume": lots(volume)}
        self.record(make_fill(**held))
        self.record(make_exit(**{**held, "broker_order_id": position + 50_000}, profit=profit))

    @rule(kind=st.sampled_from(MONEY_KINDS), amount=CENTS)
    def money_moves_without_a_trade(self, kind: FillKind, amount: Decimal) -> None:
        self.record(
            make_fill(
                kind=kind,
                entry=Entry.NONE,
                side="",
                magic=0,
                broker_order_id=0,
                position_id=0,
                symbol="",
                volume=Lots(ZERO),
                commission=ZERO,
                profit=amount,
            )
        )

    @precondition(lambda self: self.records)
    @rule(data=st.data(), commission=CENTS)
    def a_record_changes_its_commission(self, data: Any, commission: Decimal) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.records)), label="ticket")
        self.records[ticket] = replace(self.records[ticket], commission=commission)

    @precondition(lambda self: self.opened())
    @rule(data=st.data())
    def the_broker_cancels_an_opening(self, data: Any) -> None:
        ticket = data.draw(st.sampled_from(self.opened()), label="ticket")
        fill = self.records[ticket]
        self.records[ticket] = replace(fill, kind=FillKind.CANCELLED, entry=Entry.NONE, side="", profit=ZERO)
        self.open_lots[fill.position_id] = Decimal(0)

    # We book of it what we are shown.

    @precondition(lambda self: self.records)
    @rule(data=st.data(), source=st.sampled_from([FillSource.SUBMIT, FillSource.RESOLVE]))
    def an_answer_books_some_records(self, data: Any, source: FillSource) -> None:
        tickets = data.draw(
            st.lists(st.sampled_from(sorted(self.records)), min_size=1, max_size=4), label="tickets"
        )
        self.book([self.records[ticket] for ticket in tickets], source=source)

    @precondition(lambda self: self.records)
    @rule(data=st.data())
    def the_feed_books_what_the_history_shows_yet(self, data: Any) -> None:
        self.book(
            [self.records[data.draw(st.sampled_from(sorted(self.records)), label="ticket")]],
            source=FillSource.FEED,
        )

    @precondition(lambda self: self.records)
    @rule()
    def the_feed_books_everything(self) -> None:
        self.book(list(self.records.values()), source=FillSource.FEED)

    def draw_held(self, data: Any) -> int:
        held = sorted(position for position, volume in self.open_lots.items() if volume)
        return int(data.draw(st.sampled_from(held), label="position"))

    def maker(self, *, ours: bool) -> dict[str, int]:
        """The numbers of a new order: of a trade of ours, or of somebody's hand."""
        order = 20_000 + len(self.records)
        if not ours:
            return {"magic": 0, "broker_order_id": order}
        trade = self.wait(self.books.accepted(volume=lots("9.00")))
        self.trades.append(trade)
        return {"magic": trade.progress.magic, "broker_order_id": order}

    def record(self, fill: Fill) -> None:
        ticket = next(self.tickets)
        self.records[ticket] = replace(fill, ticket=ticket, executed_at=NOW + timedelta(seconds=ticket))

    def book(self, fills: list[Fill], *, source: FillSource) -> None:
        self.wait(self.books.book(*fills, source=source))
        for fill in sorted(fills, key=lambda fill: fill.ticket):
            before = self.shown.get(fill.ticket)
            if before is not None and (source is not FillSource.FEED or before.content_hash == fill.content_hash):
                continue
            if source is not FillSource.FEED and before is None and not self.covered(fill):
                # Its opening is not booked yet; the feed, which sees all, will bring both in order.
                continue
            self.shown[fill.ticket] = fill

    def covered(self, fill: Fill) -> bool:
        """Whether what is booked from before it holds what it closes."""
        held = sum((q.lots for q in self.queue(fill.position_id, self.shown, before=fill.ticket)), ZERO)
        return held > 0 if fill.entry is Entry.INOUT else fill.entry is not Entry.OUT or held >= fill.volume

    def queue(self, position: int, records: dict[int, Fill], *, before: int) -> list[Held]:
        """Who holds the lots of a position, first in, first out."""
        queue: list[Held] = []
        for ticket, fill in sorted(records.items()):
            if fill.position_id == position and fill.kind is FillKind.TRADE and ticket < before:
                left = fill.volume if fill.entry is not Entry.IN else ZERO
                for held in queue:
                    taken = min(held.lots, left)
                    held.lots, left = held.lots - taken, left - taken
                opened = fill.volume if fill.entry is Entry.IN else left if fill.entry is Entry.INOUT else ZERO
                queue.append(Held(magic=fill.magic, lots=opened))
        return queue

    def opened(self) -> list[int]:
        """Opening fills of whole positions, whose cancelling leaves nothing half closed."""
        closed = {f.position_id for f in self.records.values() if f.entry is Entry.OUT}
        ours = {f.ticket: f for f in self.records.values() if f.entry is Entry.IN and f.magic}
        alone = [f.position_id for f in ours.values()]
        return [t for t, f in ours.items() if f.position_id not in closed and alone.count(f.position_id) == 1]

    # What must hold at any time.

    @invariant()
    def every_ticket_is_booked_once_with_its_newest_content(self) -> None:
        rows = self.wait(self.books.rows("SELECT ticket, content_hash FROM current_fills"))
        ours = {row["ticket"]: row["content_hash"] for row in rows}
        assert ours == {ticket: fill.content_hash for ticket, fill in self.shown.items()}

    @invariant()
    def all_sums_agree(self) -> None:
        self.wait(self.books.check_sums())

    @invariant()
    def a_trade_is_filled_by_what_is_booked_of_it(self) -> None:
        for trade in self.trades:
            booked = sum(
                (f.volume for f in self.shown.values() if f.magic == trade.progress.magic and f.kind == "trade"),
                ZERO,
            )
            assert self.wait(self.books.trade(trade.id)).progress.filled_volume == booked

    @invariant()
    def cash_is_what_the_records_brought(self) -> None:
        brought = sum((f.profit + f.commission + f.swap + f.fee for f in self.shown.values()), ZERO)
        statement = (
            "SELECT coalesce(sum(e.amount), 0) FROM ledger_entries e JOIN ledger_accounts l"
            " ON l.id = e.ledger_account_id WHERE l.code = 'broker_cash'"
        )
        assert self.wait(self.books.scalar(statement)) == brought

    def teardown(self) -> None:
        """With everything booked, each position is held by whom the model says, and each law holds."""
        if self.records:
            self.book(list(self.records.values()), source=FillSource.FEED)
            self.cash_is_what_the_records_brought()
            self.all_sums_agree()
            for position in self.open_lots:
                self.check_owners(position)
            assert self.wait(self.broken_laws()) == []
        self.wait(self.stack.aclose())
        self.runner.close()

    async def broken_laws(self) -> list[str]:
        async with self.books.owner.connect() as connection:
            laws = await verify(connection)
        return [violation for law in laws if law.law in {4, 7, 9} for violation in law.violations]

    def check_owners(self, position: int) -> None:
        """Whoever the model says still holds lots does so in the books."""
        if any(f.kind is FillKind.CANCELLED for f in self.records.values() if f.position_id == position):
            return
        held: dict[UUID | None, Decimal] = {}
        trades = {trade.progress.magic: trade.id for trade in self.trades}
        for each in self.queue(position, self.records, before=sys.maxsize):
            owner = trades.get(each.magic)
            held[owner] = held.get(owner, ZERO) + each.lots
        statement = """
            SELECT a.trade_id, sum(CASE a.role WHEN 'close' THEN -a.volume ELSE a.volume END) AS lots
            FROM fill_allocations a JOIN fills f ON f.id = a.fill_id WHERE f.position_id = :position
            GROUP BY a.trade_id
        """
        rows = self.wait(self.books.rows(statement, position=position))
        assert {row["trade_id"]: row["lots"] for row in rows if row["lots"]} == {
            owner: volume for owner, volume in held.items() if volume
        }


@pytest.mark.parametrize("margin_mode", [MarginMode.HEDGING, MarginMode.NETTING])
def test_the_fill_book_agrees_with_its_model(migrated_template: str, margin_mode: MarginMode) -> None:
    class Machine(FillBook):
        pass

    Machine.admin_url, Machine.margin_mode = migrated_template, margin_mode
    long = settings.default is not None and settings.default.max_examples > 100
    limits = settings(
        max_examples=300 if long else 6,
        stateful_step_count=16,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Machine, settings=limits)
