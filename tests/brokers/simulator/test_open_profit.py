"""The account's totals: exact to the cent, and no dearer with a thousand positions than with one."""

from random import Random
from typing import Any

import pytest

from tests.brokers.simulator.bench import Bench


def opened(bench: Bench, count: int) -> None:
    for n in range(count):
        bench.deal(n % 2, 0.01, type_filling=1)


def shown(bench: Bench) -> float:
    return sum(position.profit + position.swap for position in bench.positions())


def profit_of_account(bench: Bench) -> float:
    return float(bench.terminal.account.floating())


@pytest.mark.parametrize("currency", ["USD", "EUR", "JPY"])
def test_the_accounts_profit_is_the_sum_of_what_the_positions_show(currency: str) -> None:
    bench = Bench(currency=currency, balance="100000000")
    rng = Random(1)
    for _ in range(120):
        bid = 1.1 + rng.randint(-500, 500) * 1e-5
        bench.tick("EURUSD", f"{bid:.5f}", f"{bid + 0.0001:.5f}")
        bench.deal(rng.randint(0, 1), rng.randint(1, 300) / 100, symbol=rng.choice(["EURUSD", "USDJPY", "XAUUSD"]))
        if rng.random() < 0.4:
            victim = rng.choice(bench.positions())
            lots = max(0.01, round(victim.volume / 2, 2))
            bench.deal(1 - victim.type, lots, symbol=victim.symbol, position=victim.ticket)
        assert profit_of_account(bench) == pytest.approx(shown(bench), abs=1e-6)
    bench.store.close()


def test_a_price_of_another_symbol_moves_the_profit_through_the_rate(bench: Bench) -> None:
    bench.deal(0, 1.0, symbol="USDJPY")
    bench.tick("USDJPY", "151.000", "151.010")
    assert profit_of_account(bench) == shown(bench)


@pytest.mark.parametrize("call", ["account_info", "order_check"])
def test_the_work_of_a_call_does_not_grow_with_the_positions(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    opened(bench, 5)
    few = valuations(bench, monkeypatch, call)
    opened(bench, 400)
    bench.queries.account_info()
    assert valuations(bench, monkeypatch, call) <= few


def valuations(bench: Bench, monkeypatch: pytest.MonkeyPatch, call: str) -> int:
    """How often a profit is worked out in one call."""
    valuation = bench.terminal.valuation
    real, made = type(valuation).profit, []

    def counted(*arguments: Any, **keywords: Any) -> Any:
        made.append(arguments)
        return real(valuation, *arguments, **keywords)

    request = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "type_filling": 1}
    with monkeypatch.context() as patch:
        patch.setattr(valuation, "profit", counted)
        bench.queries.calls[call](**({"request": request} if call == "order_check" else {}))
    return len(made)
