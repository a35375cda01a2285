"""What counts against the limits now, of the whole account and of one user of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from db.risk_rows import position_of
from domain.controls import ControlScope
from domain.exposure import CurrencyPair, conversion_rate, notional, open_loss, present_loss
from domain.instruments import Instrument
from domain.limits import Limit, LimitName, Usage, strictest
from domain.money import ZERO, Currency, Price
from domain.orders import OrderIntent
from domain.positions import MarginMode


def usages_of(
    facts: dict[str, Any],
    intent: OrderIntent,
    *,
    instruments: dict[str, Instrument],
    pairs: tuple[CurrencyPair, ...],
    limits: tuple[Limit, ...],
    unvalued: frozenset[str],
) -> tuple[Usage, ...]:
    """The usage of the whole account, and of this user's part of it."""
    if facts["account"] is None:
        return ()
    currency = Currency(facts["account"]["currency"])
    stopless = strictest(limits, LimitName.STOPLESS_LOSS)
    percent = Decimal(100) if stopless is None else stopless.value
    rates = {
        symbol: conversion_rate(card.currency_profit, currency, pairs) for symbol, card in instruments.items()
    }
    exposed = [
        _left_to_the_broker(row)
        if row["symbol"] in unvalued
        else _exposed(row, instruments[row["symbol"]], rates[row["symbol"]], stopless_percent=percent)
        for row in facts["positions"]
    ]
    hedging = facts["account"]["margin_mode"] == MarginMode.HEDGING
    usages = []
    for scope in (ControlScope.ACCOUNT, ControlScope.USER):
        whose = None if scope is ControlScope.ACCOUNT else str(intent.user_id)
        mine = [each for each in exposed if each.of(whose)]
        usages.append(
            Usage(
                scope=scope,
                held_loss=_sum(facts["totals"], "held_loss", whose),
                held_notional=_sum(facts["totals"], "held_notional", whose),
                held_margin=_sum(facts["totals"], "held_margin", whose),
                symbol_notional=_total(e.value for e in mine if e.symbol == intent.symbol)
                + _sum(facts["symbol_held"], "notional", whose),
                gross_notional=_total(e.value for e in mine) + _sum(facts["totals"], "held_notional", whose),
                realised_today=_sum(facts["realised"], "amount", whose)
                + (Decimal(facts["external_realised"]) if whose is None else ZERO),
                rolling_result=_sum(facts["rolling"], "amount", whose) + _total(e.floating for e in mine),
                open_loss=_total(e.loss for e in mine),
                present_loss=_total(e.present for e in mine),
                open_orders=int(_sum(facts["held_orders"], "count", whose)),
                open_positions=_open_positions(facts, intent, whose, hedging=hedging),
                messages=int(_sum(facts["messages"], "count", whose)) + 1,
            )
        )
    return tuple(usages)


@dataclass(frozen=True, kw_only=True)
class _Exposed:
    """What one open position weighs."""

    user_id: str | None
    symbol: str
    floating: Decimal
    present: Decimal
    loss: Decimal = ZERO
    value: Decimal = ZERO

    def of(self, user_id: str | None) -> bool:
        return user_id in {None, self.user_id}


def _exposed(
    row: dict[str, Any], card: Instrument, rate: Decimal | None, *, stopless_percent: Decimal
) -> _Exposed:
    assert rate is not None, "a position without a rate is unvalued"
    position, mark = position_of(row), Price(Decimal(row["mark"]))
    return _Exposed(
        user_id=row["user_id"],
        symbol=position.symbol,
        floating=position.profit + position.swap,
        present=present_loss(position, card, mark=mark, rate=rate),
        loss=open_loss(position, card, mark=mark, rate=rate, stopless_percent=stopless_percent),
        value=notional(card, volume=position.volume, price=position.price_current, rate=rate),
    )


def _left_to_the_broker(row: dict[str, Any]) -> _Exposed:
    """A position that nothing here can value: what floats of it, the broker says, is all that is known."""
    position = position_of(row)
    floating = position.profit + position.swap
    return _Exposed(
        user_id=row["user_id"], symbol=position.symbol, floating=floating, present=max(ZERO, -floating)
    )


def _total(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, ZERO)


def _open_positions(facts: dict[str, Any], intent: OrderIntent, user_id: str | None, *, hedging: bool) -> int:
    """How many there would be with the order: on a netting account orders of one symbol share one position."""
    rows = [*facts["positions"], *facts["opening"]]
    symbols = [row["symbol"] for row in rows if user_id in {None, row["user_id"]}] + [intent.symbol]
    return len(symbols) if hedging else len(set(symbols))


def _sum(rows: list[dict[str, Any]], column: str, user_id: str | None) -> Decimal:
    return sum((Decimal(row[column]) for row in rows if user_id in {None, row["user_id"]}), ZERO)
