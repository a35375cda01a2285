"""A send happens once, behind a claim, and every outcome leaves the books as that outcome allows."""

import asyncio
from datetime import datetime, timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.sends import SearchTrade, SenderActivities, SubmitTrade
from brokers.protocol import Lookup
from db.accounts import Lease
from db.trades import Trade
from domain.errors import BrokerUnavailable, LeaseLost
from domain.orders import (
    Accepted,
    BrokerOrderState,
    NotSent,
    OrderRequest,
    OrderState,
    Rejected,
    SubmitOutcome,
    Unresolved,
)
from domain.trades import TradeProgress
from tests.activities.broker import QUIET, ScriptedBroker, make_lookup, make_sender, take_lease
from tests.db.books import Books
from tests.factories import NOW, lots, make_fill, make_instrument, make_order, make_quote

UNRESOLVED = Unresolved(reason="timeout", retcode=None, sender_ended_at=None)


def accepted(trade: Trade, *, filled: bool = True) -> Accepted:
    magic = trade.progress.magic
    order = make_order(magic=magic, state=BrokerOrderState.FILLED if filled else BrokerOrderState.WORKING)
    fills = (make_fill(magic=magic),) if filled else ()
    return Accepted(broker_order_id=7001, order=order, fills=fills, quote=make_quote(), retcode=10009)


async def submit(
    books: Books, trade: Trade, broker: ScriptedBroker, *, lease: Lease | None = None
) -> TradeProgress:
    sender = make_sender(books, lease or await take_lease(books), broker)
    activities = SenderActivities(books.broker, sender, now=lambda: books.now)
    progress = await ActivityEnvironment().run(activities.submit, SubmitTrade(trade_id=trade.id))
    assert isinstance(progress, TradeProgress)
    return progress


async def search(
    books: Books, trade: Trade, broker: ScriptedBroker, *, lease: Lease | None = None
) -> TradeProgress:
    sender = make_sender(books, lease or await take_lease(books), broker)
    activities = SenderActivities(books.broker, sender, now=lambda: books.now)
    progress = await ActivityEnvironment().run(activities.search, SearchTrade(trade_id=trade.id))
    assert isinstance(progress, TradeProgress)
    return progress


async def unresolved(books: Books) -> Trade:
    trade = await books.reserved()
    await submit(books, trade, ScriptedBroker(outcomes=[UNRESOLVED]))
    return await books.trade(trade.id)


async def test_an_order_is_sent_with_the_contract_that_it_was_sized_by(books: Books) -> None:
    trade = await books.reserved()
    await books.run("UPDATE instruments SET contract_size = 1000, digits = 3")
    broker = ScriptedBroker(outcomes=[accepted(trade)])

    await submit(books, trade, broker)

    (sent,) = broker.sends
    assert sent.contract == make_instrument().contract


async def test_a_reservation_from_before_contracts_were_kept_is_held_to_none(books: Books) -> None:
    trade = await books.reserved()
    await books.run("UPDATE risk_reservations SET contract = NULL")
    broker = ScriptedBroker(outcomes=[accepted(trade)])

    await submit(books, trade, broker)

    assert [sent.contract for sent in broker.sends] == [None]


async def test_an_accepted_send_books_the_fills_of_its_answer_at_once(books: Books) -> None:
    trade = await books.reserved()

    progress = await submit(books, trade, ScriptedBroker(outcomes=[accepted(trade)]))

    assert (progress.state, progress.broker_order_id) == (OrderState.FILLED, 7001)
    assert await books.scalar("SELECT outcome FROM send_attempts") == "accepted"
    await books.check_sums()


async def test_an_order_that_rests_is_working(books: Books) -> None:
    trade = await books.reserved()
    progress = await submit(books, trade, ScriptedBroker(outcomes=[accepted(trade, filled=False)]))
    assert progress.state is OrderState.WORKING


async def test_an_order_that_no_list_shows_yet_is_working(books: Books) -> None:
    trade = await books.reserved()
    unseen = Accepted(broker_order_id=7001, order=None, fills=(), quote=None, retcode=10008)
    progress = await submit(books, trade, ScriptedBroker(outcomes=[unseen]))
    assert (progress.state, progress.broker_order_id) == (OrderState.WORKING, 7001)


@pytest.mark.parametrize(
    ("outcome", "state", "reason", "attention"),
    [
        (Rejected(reason="no_money", retcode=10019), OrderState.REJECTED, "no_money", False),
        (NotSent(reason="price_collar", detail={"worse": "250"}), OrderState.DENIED, "price_collar", False),
        (UNRESOLVED, OrderState.UNRESOLVED, "timeout", True),
    ],
)
async def test_an_answer_that_is_no_acceptance_ends_as_what_it_proves(
    books: Books, outcome: SubmitOutcome, state: OrderState, reason: str, *, attention: bool
) -> None:
    trade = await books.reserved()
    progress = await submit(books, trade, ScriptedBroker(outcomes=[outcome]))
    assert (progress.state, progress.reason, progress.needs_attention) == (state, reason, attention)
    # Only the trade's end resolves it; while nobody knows, it stays held.
    assert await books.scalar("SELECT state FROM risk_reservations") == "held"


async def test_twenty_submits_of_one_trade_send_once(books: Books) -> None:
    trade = await books.reserved()
    broker = ScriptedBroker(outcomes=[accepted(trade)] * 20)
    lease = await take_lease(books)

    await asyncio.gather(*(submit(books, trade, broker, lease=lease) for _ in range(20)))

    assert len(broker.sends) == 1
    assert await books.scalar("SELECT count(*) FROM fills") == 1


async def test_a_claim_without_an_answer_is_unresolved_and_never_sent(books: Books) -> None:
    trade = await books.reserved()
    await books.run(
        "INSERT INTO send_attempts (trade_id, number, account_id, magic, lease_number)"
        " VALUES (:id, 1, :account, :magic, 1)",
        id=trade.id,
        account=books.account.id,
        magic=trade.progress.magic,
    )
    broker = ScriptedBroker()

    progress = await submit(books, trade, broker)

    assert (progress.state, progress.reason, broker.sends) == (OrderState.UNRESOLVED, "claimed_before", [])


async def test_an_old_lease_cannot_claim(books: Books) -> None:
    trade = await books.reserved()
    old = await take_lease(books)
    await take_lease(books)
    broker = ScriptedBroker()

    progress = await submit(books, trade, broker, lease=old)

    assert (progress.state, progress.reason, broker.sends) == (OrderState.DENIED, "lease_lost", [])
    assert await books.rows("SELECT 1 FROM send_attempts") == []


async def test_a_stop_that_latched_after_the_reservation_keeps_the_order_in(books: Books) -> None:
    trade = await books.reserved()
    await books.run("UPDATE trading_control SET state = 'halted' WHERE scope = 'all'")
    broker = ScriptedBroker()

    progress = await submit(books, trade, broker)

    assert (progress.state, progress.reason, broker.sends) == (OrderState.DENIED, "trading_halted", [])


async def test_an_order_past_its_deadline_stays_in(books: Books) -> None:
    trade = await books.reserved()
    books.now = trade.intent.submit_by
    broker = ScriptedBroker()

    progress = await submit(books, trade, broker)

    assert (progress.reason, broker.sends) == ("submit_deadline_passed", [])


async def test_a_fill_that_the_feed_booked_first_is_stronger_than_a_refusal(books: Books) -> None:
    trade = await books.reserved()

    class Overtaken(ScriptedBroker):
        async def submit(self, order: object) -> SubmitOutcome:
            await books.book(make_fill(magic=trade.progress.magic))
            return Rejected(reason="no_money", retcode=10019)

    progress = await submit(books, trade, Overtaken())

    assert progress.state is OrderState.FILLED
    await books.check_sums()


async def test_a_found_order_ends_the_search(books: Books) -> None:
    trade = await unresolved(books)
    fill = make_fill(magic=trade.progress.magic)
    order = make_order(magic=trade.progress.magic, state=BrokerOrderState.FILLED)
    broker = ScriptedBroker(lookup=make_lookup(history_orders=(order,), fills=(fill,)))

    progress = await search(books, trade, broker)

    assert (progress.state, progress.needs_attention) == (OrderState.FILLED, False)
    assert progress.broker_order_id == order.broker_order_id
    assert await books.scalar("SELECT outcome FROM send_attempts") == "accepted"


async def test_a_part_filled_order_that_was_cancelled_is_found_as_such(books: Books) -> None:
    trade = await unresolved(books)
    fill = make_fill(magic=trade.progress.magic, volume=lots("0.04"))
    order = make_order(magic=trade.progress.magic, state=BrokerOrderState.CANCELLED)
    broker = ScriptedBroker(lookup=make_lookup(history_orders=(order,), fills=(fill,)))

    progress = await search(books, trade, broker)

    assert (progress.state, progress.filled_volume) == (OrderState.CANCELLED, lots("0.04"))


async def test_absence_counts_from_the_death_of_the_sender_that_claimed(books: Books) -> None:
    trade = await books.reserved()
    lease = await take_lease(books)
    await submit(books, trade, ScriptedBroker(outcomes=[UNRESOLVED]), lease=lease)
    claimed_at = await books.scalar("SELECT claimed_at FROM send_attempts")
    died_at = claimed_at + timedelta(seconds=5)
    broker = ScriptedBroker(died_at=died_at, lookup=make_lookup(read_at=died_at + QUIET - timedelta(seconds=1)))

    waiting = await search(books, trade, broker, lease=lease)
    assert (waiting.state, waiting.needs_attention) == (OrderState.UNRESOLVED, True)
    assert waiting.evidence is not None
    assert "quiet" in waiting.evidence["missing"]

    broker.lookup = make_lookup(read_at=died_at + QUIET)
    ended = await search(books, trade, broker, lease=lease)
    assert (ended.state, ended.reason) == (OrderState.REJECTED, "absent")
    # Killed once, and the quiet window counted from then on.
    assert broker.retired == 1


async def test_a_terminal_that_is_away_changes_nothing(books: Books) -> None:
    trade = await unresolved(books)
    before = await books.rows("SELECT * FROM trade_ledger")

    with pytest.raises(BrokerUnavailable):
        await search(books, trade, ScriptedBroker(lookup=None))

    assert await books.rows("SELECT * FROM trade_ledger") == before
    assert await books.scalar("SELECT state FROM risk_reservations") == "held"


async def test_a_history_out_of_sync_never_proves_absence(books: Books) -> None:
    trade = await unresolved(books)
    broker = ScriptedBroker(lookup=make_lookup(in_sync=False, read_at=NOW + timedelta(days=9)))
    assert (await search(books, trade, broker)).state is OrderState.UNRESOLVED


async def test_a_sender_without_its_lease_proves_nothing(books: Books) -> None:
    trade = await unresolved(books)
    old = await take_lease(books)
    await take_lease(books)
    broker = ScriptedBroker(lookup=make_lookup(read_at=NOW + timedelta(days=9)))

    with pytest.raises(LeaseLost):
        await search(books, trade, broker, lease=old)

    assert (await books.trade(trade.id)).state is OrderState.UNRESOLVED
    assert (await books.scalar("SELECT sender_ended_at FROM send_attempts"), broker.retired) == (None, 0)


async def test_a_lease_lost_while_the_broker_answers_proves_nothing_either(books: Books) -> None:
    trade = await unresolved(books)

    class Overtaken(ScriptedBroker):
        async def find(self, magic: int, *, since: datetime) -> Lookup:
            await take_lease(books)
            return await super().find(magic, since=since)

    with pytest.raises(LeaseLost):
        await search(books, trade, Overtaken(lookup=make_lookup(read_at=NOW + timedelta(days=9))))

    assert (await books.trade(trade.id)).state is OrderState.UNRESOLVED


async def test_nothing_ended_before_it_was_claimed(books: Books) -> None:
    """Clocks differ between machines: a proof of death that is older than the claim counts from the claim."""
    trade = await unresolved(books)
    await books.run("UPDATE send_attempts SET sender_ended_at = claimed_at - interval '1 hour'")
    claimed_at = await books.scalar("SELECT claimed_at FROM send_attempts")

    early = ScriptedBroker(lookup=make_lookup(read_at=claimed_at + QUIET - timedelta(seconds=1)))
    assert (await search(books, trade, early)).state is OrderState.UNRESOLVED
    late = ScriptedBroker(lookup=make_lookup(read_at=claimed_at + QUIET))
    assert (await search(books, trade, late)).reason == "absent"


async def test_a_history_shorter_than_the_books_never_proves_absence(books: Books) -> None:
    trade = await unresolved(books)
    await books.book(make_fill(magic=0), make_fill(magic=0, ticket=9100, broker_order_id=7100, position_id=7100))
    broker = ScriptedBroker(lookup=make_lookup(read_at=NOW + timedelta(days=999), deal_count=1))

    assert (await search(books, trade, broker)).state is OrderState.UNRESOLVED
    broker.lookup = make_lookup(read_at=NOW + timedelta(days=999), deal_count=2)
    assert (await search(books, trade, broker)).reason == "absent"


async def test_a_search_goes_back_to_when_the_order_was_received(books: Books) -> None:
    """A claim that recovery made is younger than the send that it stands for."""
    trade = await unresolved(books)
    asked: list[datetime] = []

    class Asked(ScriptedBroker):
        async def find(self, magic: int, *, since: datetime) -> Lookup:
            asked.append(since)
            return await super().find(magic, since=since)

    await search(books, trade, Asked(lookup=make_lookup()))

    assert asked == [trade.intent.received_at]


async def test_an_acceptance_that_comes_after_the_verdict_is_kept_and_alerted(books: Books) -> None:
    trade = await books.reserved()

    class Late(ScriptedBroker):
        async def submit(self, order: OrderRequest) -> SubmitOutcome:
            outcome = await super().submit(order)
            await books.run("UPDATE send_attempts SET outcome = 'rejected', reason = 'absent', outcome_at = now()")
            await books.run("UPDATE trade_ledger SET state = 'rejected', reason = 'absent'")
            return outcome

    progress = await submit(books, trade, Late(outcomes=[accepted(trade)]))

    assert (progress.state, progress.broker_order_id) == (OrderState.FILLED, 7001)
    assert progress.needs_attention
    assert await books.scalar("SELECT outcome FROM send_attempts") == "rejected", "what was judged stays"
    kinds = [row["kind"] for row in await books.rows("SELECT kind FROM alerts ORDER BY kind")]
    assert kinds == ["late_acceptance", "late_fill"]
