"""Random trading, judged by what must always hold of the books."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from brokers.simulator.account import MarginMode
from brokers.simulator.books import Books
from brokers.simulator.records import Deal
from brokers.simulator.store import Store
from tests.brokers.simulator.bench import Bench


@contextmanager
def traded(path: Path, mode: MarginMode, seed: int) -> Iterator[Bench]:
    """A bench after three hundred random steps."""
    bench = Bench(margin_mode=mode, path=path)
    random = Random(seed)
    mid = Decimal("1.10000")
    for _ in range(300):
        mid += Decimal(random.randint(-40, 40)).scaleb(-5)
        bench.tick("EURUSD", str(mid), str(mid + Decimal("0.00010")))
        bench.wait(random.choice([0, 0, 60, 40_000]))
        take_a_step(bench, random, float(mid))
    yield bench
    bench.store.close()


def take_a_step(bench: Bench, random: Random, mid: float) -> None:
    volume = random.randint(1, 250) / 100
    price = round(mid + random.randint(-60, 60) * 1e-5, 5)
    positions, orders = bench.positions(), bench.orders()
    match random.choice(["deal", "pend", "close", "remove", "levels", "both"]):
        case "deal":
            bench.deal(random.randint(0, 1), volume, type_filling=random.randint(0, 1))
        case "pend":
            bench.pend(random.randint(2, 7), price, volume=volume, stoplimit=mid)
        case "close" if positions:
            target = random.choice(positions)
            bench.deal(1 - target.type, min(volume, target.volume), position=target.ticket)
        case "remove" if orders:
            bench.send(action=8, order=random.choice(orders).ticket)
        case "levels" if positions:
            bench.send(action=6, symbol="EURUSD", position=random.choice(positions).ticket, sl=price, tp=0.0)
        case "both" if len(positions) > 1:
            pair = random.sample(positions, 2)
            bench.send(action=10, position=pair[0].ticket, position_by=pair[1].ticket)
        case _:
            return


@pytest.mark.parametrize("mode", list(MarginMode))
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_after_random_trading_every_total_is_the_sum_of_its_parts(
    tmp_path: Path, mode: MarginMode, seed: int
) -> None:
    with traded(tmp_path / "books.sqlite", mode, seed) as bench:
        books, account = bench.terminal.books, bench.terminal.account
        deals = bench.store.select(Deal)
        assert len(deals) > 50
        assert books.balance == sum((deal.money for deal in deals), Decimal(0))
        for position in books.positions.values():
            assert position.lots > 0
        signed = sum((deal.lots if deal.type == 0 else -deal.lots for deal in deals if deal.type < 2), Decimal(0))
        held = sum((p.lots * p.side.sign for p in books.positions.values()), Decimal(0))
        assert signed == held
        legs = sum((leg.lots * leg.side.sign for leg in books.legs()), Decimal(0))
        assert legs == held
        assert abs(account.estimated_equity() - account.balance - account.floating()) < 1
        if mode is MarginMode.NETTING:
            assert len(books.positions) <= 1


def test_memory_and_store_never_differ(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"
    with traded(path, MarginMode.HEDGING, 4) as bench:
        books = bench.terminal.books
        bench.store.close()
        store = Store(path)
        again = Books(store)
        assert (again.balance, again.orders, again.positions) == (books.balance, books.orders, books.positions)
        bench.store = store


def test_a_change_that_fails_halfway_leaves_no_trace(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.deal(0, 0.1)
    before = (bench.terminal.books.balance, bench.positions(), bench.deals())

    def fail(_: Deal) -> Deal:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(bench.terminal.books, "add_deal", fail)
    with pytest.raises(RuntimeError, match="disk is full"):
        bench.deal(1, 0.1)
    monkeypatch.undo()
    assert (bench.terminal.books.balance, bench.positions(), bench.deals()) == before
