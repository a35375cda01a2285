"""Records as rows of the package's structs: the place where exact amounts become floats."""

from decimal import Decimal
from typing import Any

from brokers.simulator import constants as mt5
from brokers.simulator.market import Quote
from brokers.simulator.records import Deal, Order, Position
from brokers.simulator.structs import Tick, TradeDeal, TradeOrder, TradePosition
from brokers.simulator.symbols import EXPIRATION_ALL, ORDER_MODE_ALL, Symbol


def tick_row(quote: Quote) -> list[Any]:
    return Tick.row(time=quote.msc // 1000, time_msc=quote.msc, bid=quote.bid, ask=quote.ask, flags=quote.flags)


def order_row(order: Order, price_now: Decimal) -> list[Any]:
    return TradeOrder.row(
        ticket=order.ticket,
        time_setup=order.setup_msc // 1000,
        time_setup_msc=order.setup_msc,
        time_done=order.done_msc // 1000,
        time_done_msc=order.done_msc,
        time_expiration=order.expiration,
        type=order.type,
        type_time=order.type_time,
        type_filling=order.filling,
        state=order.state,
        magic=order.magic,
        position_id=order.position_id,
        position_by_id=order.position_by_id,
        reason=order.reason,
        volume_initial=order.lots,
        volume_current=order.rest,
        price_open=order.price,
        sl=order.sl,
        tp=order.tp,
        price_current=price_now,
        price_stoplimit=order.stoplimit,
        symbol=order.symbol,
        comment=order.comment,
    )


def position_row(position: Position, *, price_now: Decimal, profit: Decimal) -> list[Any]:
    return TradePosition.row(
        ticket=position.ticket,
        time=position.time_msc // 1000,
        time_msc=position.time_msc,
        time_update=position.update_msc // 1000,
        time_update_msc=position.update_msc,
        type=position.type,
        magic=position.magic,
        identifier=position.identifier,
        reason=position.reason,
        volume=position.lots,
        price_open=position.price_open,
        sl=position.sl,
        tp=position.tp,
        price_current=price_now,
        swap=position.swap,
        profit=profit,
        symbol=position.symbol,
        comment=position.comment,
    )


def deal_row(deal: Deal) -> list[Any]:
    return TradeDeal.row(
        ticket=deal.ticket,
        order=deal.order_ticket,
        time=deal.time_msc // 1000,
        time_msc=deal.time_msc,
        type=deal.type,
        entry=deal.entry,
        magic=deal.magic,
        position_id=deal.position_id,
        reason=deal.reason,
        volume=deal.lots,
        price=deal.price,
        commission=deal.commission,
        swap=deal.swap,
        profit=deal.profit,
        fee=deal.fee,
        symbol=deal.symbol,
        comment=deal.comment,
    )


def symbol_terms(symbol: Symbol, *, selected: bool) -> dict[str, Any]:
    """The fields of SymbolInfo that follow from the contract alone."""
    return {
        "select": selected,
        "visible": selected,
        "digits": symbol.digits,
        "spread_float": True,
        "ticks_bookdepth": symbol.levels,
        "trade_calc_mode": symbol.calc_mode,
        "trade_mode": symbol.trade_mode,
        "trade_stops_level": symbol.stops_level,
        "trade_freeze_level": symbol.freeze_level,
        "trade_exemode": symbol.exemode,
        "swap_mode": mt5.SYMBOL_SWAP_MODE_POINTS,
        "swap_rollover3days": mt5.DAY_OF_WEEK_WEDNESDAY,
        "expiration_mode": EXPIRATION_ALL,
        "filling_mode": symbol.filling_flags,
        "order_mode": ORDER_MODE_ALL,
        "point": symbol.point,
        "trade_tick_size": symbol.point,
        "trade_contract_size": symbol.contract,
        "volume_min": symbol.volume_min,
        "volume_max": symbol.volume_max,
        "volume_step": symbol.volume_step,
        "volume_limit": symbol.volume_limit,
        "swap_long": symbol.swap_long,
        "swap_short": symbol.swap_short,
        "margin_hedged": 2 * symbol.contract,  # both legs are charged in full
        "currency_base": symbol.base,
        "currency_profit": symbol.profit_currency,
        "currency_margin": symbol.margin_currency,
        "description": symbol.description,
        "name": symbol.name,
        "path": symbol.path,
    }
