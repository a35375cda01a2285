"""What a fill does to the positions of the account (facts §6.4, §10.2b).

1. Hedging: an opening order makes its own position, whose ticket is the order's.
2. Netting: one position per symbol; a reversal is a single INOUT deal that keeps the identifier.
3. Commission falls on each deal by its lots, or is owed when the order says so; swap leaves with the lots that
   close.
"""

from decimal import Decimal

from brokers.simulator import constants as mt5
from brokers.simulator.account import MarginMode
from brokers.simulator.aftermath import aftermath_of
from brokers.simulator.agenda import Duty
from brokers.simulator.desk import Desk
from brokers.simulator.faults import ExitMagicLost, LateCommission
from brokers.simulator.market import Slice
from brokers.simulator.records import ZERO, Deal, Order, Position, market_type


class PositionKeeping:
    def __init__(self, desk: Desk) -> None:
        self._netting = desk.account.terms.margin_mode is MarginMode.NETTING
        self._books = desk.books
        self._valuation = desk.valuation
        self._symbols = desk.symbols
        self._clock = desk.clock

    def met_by(self, order: Order) -> Position | None:
        """The position that a fill of this order changes, None when it opens one."""
        if order.closes:
            return self._books.positions.get(order.closes)
        if self._netting:
            return next(iter(self._books.positions_of(order.symbol)), None)
        return self._books.positions.get(order.ticket)

    def fill(self, order: Order, dealt: Slice, *, now_msc: int) -> Deal:
        """Book one deal of the order and what it does to the position."""
        position = self.met_by(order)
        if position is None:
            assert not order.closes, "a close is never filled without its position"
            return self._open(order, dealt, now_msc)
        if position.side is order.side:
            return self._add(position, order, dealt, now_msc)
        if dealt.lots > position.lots:
            return self._reverse(position, order, dealt, now_msc)
        return self._reduce(position, order, dealt, now_msc)

    def close_by(self, order: Order, position: Position, partner: Position, *, now_msc: int) -> list[Deal]:
        """Close the smaller volume at the partner's open price; the profit lands on the first deal only."""
        lots = min(position.lots, partner.lots)
        profit = self._valuation.profit(
            self._symbols[position.symbol],
            position.side,
            lots,
            opened=position.price_open,
            closed=partner.price_open,
        )
        deals = []
        for leg, other, result in ((position, partner, profit), (partner, position, ZERO)):
            dealt = Slice(other.price_open, lots)
            swap = self._part_of_swap(leg, lots)
            deal = self._deal(order, dealt, leg, mt5.DEAL_ENTRY_OUT_BY, now_msc, profit=result, swap=swap)
            deal.type = market_type(leg.side.opposite)
            deal.commission = ZERO  # nothing meets the market
            deals.append(deal)
        for deal, leg in zip(deals, (position, partner), strict=True):
            self._books.add_deal(deal)
            self._shrink(leg, lots, deal.swap, now_msc)
        return deals

    def _open(self, order: Order, dealt: Slice, now_msc: int) -> Deal:
        position = Position(
            ticket=order.ticket,
            identifier=order.ticket,
            symbol=order.symbol,
            type=mt5.POSITION_TYPE_BUY if order.side.sign > 0 else mt5.POSITION_TYPE_SELL,
            lots=dealt.lots,
            price_open=dealt.price,
            time_msc=now_msc,
            update_msc=now_msc,
            reason=order.reason,
            sl=order.sl,
            tp=order.tp,
            magic=order.magic,
            comment=order.comment,
            loses_magic=_loses_magic(order),
        )
        self._books.save_position(position)
        return self._book(order, self._deal(order, dealt, position, mt5.DEAL_ENTRY_IN, now_msc))

    def _add(self, position: Position, order: Order, dealt: Slice, now_msc: int) -> Deal:
        cost = position.price_open * position.lots + dealt.price * dealt.lots
        position.lots += dealt.lots
        position.price_open = cost / position.lots
        self._adopt(position, order)
        position.update_msc = now_msc
        self._books.save_position(position)
        return self._book(order, self._deal(order, dealt, position, mt5.DEAL_ENTRY_IN, now_msc))

    def _reduce(self, position: Position, order: Order, dealt: Slice, now_msc: int) -> Deal:
        deal = self._deal(
            order,
            dealt,
            position,
            mt5.DEAL_ENTRY_OUT,
            now_msc,
            profit=self._profit(position, dealt.price, dealt.lots),
            swap=self._part_of_swap(position, dealt.lots),
        )
        self._shrink(position, dealt.lots, deal.swap, now_msc)
        return self._book(order, deal)

    def _reverse(self, position: Position, order: Order, dealt: Slice, now_msc: int) -> Deal:
        assert self._netting, "only a netting account reverses a position"
        deal = self._deal(
            order,
            dealt,
            position,
            mt5.DEAL_ENTRY_INOUT,
            now_msc,
            profit=self._profit(position, dealt.price, position.lots),
            swap=position.swap,
        )
        self._books.drop_position(position)
        position.ticket = order.ticket  # the identifier stays for life
        position.type = 1 - position.type
        position.lots = dealt.lots - position.lots
        position.price_open = dealt.price
        position.swap = ZERO
        self._adopt(position, order)
        position.time_msc = position.update_msc = now_msc
        self._books.save_position(position)
        return self._book(order, deal)

    def _adopt(self, position: Position, order: Order) -> None:
        """On netting the latest order names the magic and replaces the levels."""
        if self._netting:
            position.magic = order.magic
            position.comment = order.comment
            position.sl, position.tp = order.sl, order.tp
            position.loses_magic = _loses_magic(order)

    def _shrink(self, position: Position, lots: Decimal, swap: Decimal, now_msc: int) -> None:
        position.lots -= lots
        position.swap -= swap
        position.update_msc = now_msc
        if position.lots == 0:
            self._books.drop_position(position)
        else:
            self._books.save_position(position)

    def _book(self, order: Order, deal: Deal) -> Deal:
        late = next((fault for fault in aftermath_of(order) if isinstance(fault, LateCommission)), None)
        if late is None:
            return self._books.add_deal(deal)
        owed, deal.commission = deal.commission, ZERO
        booked = self._books.add_deal(deal)
        named = {
            "order_ticket": order.ticket,
            "position_id": deal.position_id,
            "magic": deal.magic,
            "symbol": deal.symbol,
        }
        self._books.agenda.add(
            Duty.COMMISSION,
            due_utc_msc=self._clock.utc_msc() + late.after_ms,
            terms={
                "commission": str(owed),
                "comment": f"Commission {booked.ticket}",
                **(named if late.linked else {}),
            },
        )
        return booked

    def _profit(self, position: Position, price: Decimal, lots: Decimal) -> Decimal:
        symbol = self._symbols[position.symbol]
        return self._valuation.profit(symbol, position.side, lots, opened=position.price_open, closed=price)

    def _part_of_swap(self, position: Position, lots: Decimal) -> Decimal:
        return self._valuation.money(position.swap * lots / position.lots)

    def _deal(
        self,
        order: Order,
        dealt: Slice,
        position: Position,
        entry: int,
        now_msc: int,
        *,
        profit: Decimal = ZERO,
        swap: Decimal = ZERO,
    ) -> Deal:
        return Deal(
            ticket=0,
            order_ticket=order.ticket,
            symbol=order.symbol,
            type=market_type(order.side),
            entry=entry,
            position_id=position.identifier,
            reason=order.reason,
            time_msc=now_msc,
            magic=order.magic,
            lots=dealt.lots,
            price=dealt.price,
            commission=self._valuation.commission(self._symbols[order.symbol], dealt.lots),
            swap=swap,
            profit=profit,
            comment=order.comment,
        )


def _loses_magic(order: Order) -> int:
    return int(any(isinstance(fault, ExitMagicLost) for fault in aftermath_of(order)))
