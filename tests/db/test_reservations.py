"""Reservations and their totals: each ends once, and the totals are exact after every step."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from db import reservations
from db.trade_locks import lock_to_reserve
from db.trades import read
from domain.errors import ReservationConflict
from domain.money import Lots
from domain.orders import OrderIntent
from domain.reservations import NOTHING, RESOLVED_STATES, Amounts, ReservationState
from domain.sizing import Approved, Room
from tests.db.books import Books
from tests.factories import USD, lots, make_instrument, price
from tests.strategies import amounts

CLAIM = Amounts(
    volume=lots("0.10"), loss=Decimal("220.42"), notional=Decimal("11021.00"), margin=Decimal("110.21")
)
HALF = lots("0.05")


async def hold(books: Books, claim: Amounts = CLAIM) -> OrderIntent:
    trade = await books.accepted(volume=claim.volume)
    approved = Approved(
        amounts=claim,
        currency=USD,
        reference_price=price("1.1001"),
        collar_points=10,
        rates={"USDUSD": Decimal(1)},
        contract=make_instrument().contract,
    )
    async with books.database.engine("pipeline").begin() as connection:
        locked, _ = (await lock_to_reserve(connection, [trade.id]))[trade.id]
        await reservations.hold(connection, locked, approved, actor="test")
    return trade.intent


async def resolve(books: Books, trade_id: UUID, into: ReservationState, *, filled: Lots) -> None:
    async with books.database.engine("pipeline").begin() as connection:
        await reservations.resolve_reservation(connection, trade_id, into, filled=filled)


async def see(books: Books, *, read_at: datetime) -> int:
    async with books.broker.begin() as connection:
        return await reservations.stop_counting_settled(connection, books.account.id, read_at=read_at)


async def held_loss(books: Books) -> Decimal:
    return Decimal(await books.scalar("SELECT held_loss FROM exposure_totals"))


@pytest.mark.parametrize("into", sorted(RESOLVED_STATES))
async def test_a_reservation_ends_once_and_each_second_end_is_an_error_of_its_own(
    books: Books, into: ReservationState
) -> None:
    """Trap 18: release after settle, settle after release, settle twice, settle after expiry."""
    intent = await hold(books)
    await resolve(books, intent.trade_id, into, filled=HALF)

    codes = set()
    for other in RESOLVED_STATES:
        with pytest.raises(ReservationConflict, match=f"already {into} and cannot be {other}") as refused:
            await resolve(books, intent.trade_id, other, filled=HALF)
        codes.add(refused.value.code)
    assert codes == {f"reservation_conflict:{into}_then_{other}" for other in RESOLVED_STATES}
    await books.check_sums()


async def test_the_database_refuses_another_end_and_a_second_life(books: Books) -> None:
    intent = await hold(books)
    await resolve(books, intent.trade_id, ReservationState.RELEASED, filled=lots("0"))

    with pytest.raises(IntegrityError, match="already released"):
        await books.run("UPDATE risk_reservations SET state = 'settled'", role="pipeline")
    with pytest.raises(IntegrityError, match="not counted again"):
        await books.run("UPDATE risk_reservations SET counted = true", role="pipeline")


async def test_a_release_frees_everything_at_once(books: Books) -> None:
    intent = await hold(books)
    assert await held_loss(books) == CLAIM.loss

    await resolve(books, intent.trade_id, ReservationState.RELEASED, filled=lots("0"))

    assert await held_loss(books) == 0


async def test_a_settled_share_counts_until_a_snapshot_that_was_read_after_it(books: Books) -> None:
    intent = await hold(books)
    await resolve(books, intent.trade_id, ReservationState.SETTLED, filled=HALF)
    resolved_at = await books.scalar("SELECT resolved_at FROM risk_reservations")
    assert await held_loss(books) == CLAIM.share(HALF).loss

    assert await see(books, read_at=resolved_at) == 0
    assert await see(books, read_at=resolved_at - timedelta(seconds=1)) == 0
    assert await held_loss(books) == CLAIM.share(HALF).loss

    assert await see(books, read_at=resolved_at + timedelta(microseconds=1)) == 1
    assert await held_loss(books) == 0
    await books.check_sums()


async def test_a_held_reservation_outlasts_every_snapshot(books: Books) -> None:
    await hold(books)
    assert await see(books, read_at=datetime.now(UTC) + timedelta(days=1)) == 0
    assert await held_loss(books) == CLAIM.loss


async def test_a_claim_falls_and_never_rises(books: Books) -> None:
    intent = await hold(books)
    async with books.broker.begin() as connection:
        less = replace(CLAIM, notional=CLAIM.notional - 1)
        await reservations.reduce(connection, intent.trade_id, claim=less, cause="filled", fill_id=None)
        assert await reservations.claimed(connection, intent.trade_id) == less
        with pytest.raises(AssertionError, match="never grows"):
            await reservations.reduce(connection, intent.trade_id, claim=CLAIM, cause="filled", fill_id=None)
    await books.check_sums()


async def test_a_trade_holds_one_reservation(books: Books) -> None:
    intent = await hold(books)
    approved = Approved(
        amounts=CLAIM,
        currency=USD,
        reference_price=price("1.1"),
        collar_points=1,
        rates={},
        contract=make_instrument().contract,
    )
    async with books.database.engine("pipeline").connect() as connection:
        with pytest.raises(IntegrityError, match="pk_risk_reservations"):
            await reservations.hold(connection, await read(connection, intent.trade_id), approved, actor="test")
    assert await held_loss(books) == CLAIM.loss


async def test_resolving_what_was_never_held_is_no_change(books: Books) -> None:
    trade = await books.accepted()
    await resolve(books, trade.id, ReservationState.RELEASED, filled=lots("0"))
    assert await books.rows("SELECT 1 FROM risk_reservations") == []


async def test_the_database_holds_the_total_against_the_room_once_more(books: Books) -> None:
    """Whatever the code believes, a total beyond the limit does not commit."""
    trade = await books.accepted(volume=CLAIM.volume)
    approved = Approved(
        amounts=CLAIM,
        currency=USD,
        reference_price=price("1.1"),
        collar_points=1,
        rates={},
        contract=make_instrument().contract,
        room=Room(loss=CLAIM.loss - Decimal("0.01"), notional=None, margin=None),
    )
    async with books.database.engine("pipeline").connect() as connection:
        locked, _ = (await lock_to_reserve(connection, [trade.id]))[trade.id]
        with pytest.raises(IntegrityError, match="ck_exposure_totals_loss_room"):
            await reservations.hold(connection, locked, approved, actor="test")
    assert await books.rows("SELECT 1 FROM risk_reservations") == []


async def test_what_is_recovered_is_held_whatever_the_room(books: Books) -> None:
    trade = await books.accepted(volume=CLAIM.volume)
    approved = Approved(
        amounts=CLAIM,
        currency=USD,
        reference_price=price("1.1"),
        collar_points=1,
        rates={},
        contract=make_instrument().contract,
        room=Room(loss=Decimal(0), notional=Decimal(0), margin=Decimal(0)),
    )
    async with books.database.engine("pipeline").begin() as connection:
        locked, _ = (await lock_to_reserve(connection, [trade.id]))[trade.id]
        await reservations.hold(connection, locked, approved, actor="test", recovered=True)
    assert await held_loss(books) == CLAIM.loss


@dataclass(frozen=True)
class Step:
    """One thing that may happen: a resolution with some lots filled, or a snapshot read `after` all before."""

    number: int
    into: ReservationState | None
    filled_steps: int


steps = st.lists(
    st.builds(
        Step,
        number=st.integers(0, 3),
        into=st.none() | st.sampled_from(sorted(RESOLVED_STATES)),
        filled_steps=st.integers(0, 5_000),
    ),
    max_size=12,
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(claims=st.lists(amounts(), min_size=1, max_size=4), steps=steps)
async def test_totals_are_exact_after_any_sequence(books: Books, claims: list[Amounts], steps: list[Step]) -> None:
    books.user_id = await books.add_trader(f"trader-{await books.scalar('SELECT count(*) FROM users')}")
    held = [await hold(books, claim) for claim in claims]
    ended: set[UUID] = set()
    for step in steps:
        intent, claim = held[step.number % len(held)], claims[step.number % len(held)]
        if step.into is None:
            await see(books, read_at=datetime.now(UTC) + timedelta(seconds=1))
            continue
        filled = min(claim.volume, Lots(step.filled_steps * Decimal("0.01")))
        if intent.trade_id not in ended:
            ended.add(intent.trade_id)
            await resolve(books, intent.trade_id, step.into, filled=filled)
        else:
            with pytest.raises(ReservationConflict):
                await resolve(books, intent.trade_id, step.into, filled=filled)
        await books.check_sums()
    for intent in held:
        if intent.trade_id not in ended:
            await resolve(books, intent.trade_id, ReservationState.RELEASED, filled=lots("0.01"))
    await see(books, read_at=datetime.now(UTC) + timedelta(seconds=1))
    mine = await books.rows(
        "SELECT held_loss, held_notional, held_margin FROM exposure_totals WHERE user_id = :id", id=books.user_id
    )
    assert [tuple(row.values()) for row in mine] == [(NOTHING.loss, NOTHING.notional, NOTHING.margin)]
