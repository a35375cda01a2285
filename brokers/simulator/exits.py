"""Closes that the broker makes by itself: stop loss, take profit, stop-out; and the nightly swap.

An exit is an order and deals of its own: own tickets, the victim's position_id, entry OUT, its reason and a
comment of the broker's (facts §10.2b).
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from brokers.simulator import constants as mt5
from brokers.simulator.account import STOP_OUT_PERCENT, margin_level
from brokers.simulator.desk import Desk
from brokers.simulator.market import Quote, Side
from brokers.simulator.matching import Matching
from brokers.simulator.records import Deal, Order, Position, market_type

ROLLOVER_META = "rollover_day"
WEDNESDAY, SATURDAY = 2, 5


class Exits:
    def __init__(self, desk: Desk, matching: Matching) -> None:
        self._market = desk.market
        self._books = desk.books
        self._matching = matching
        self._account = desk.account
        self._valuation = desk.valuation
        self._symbols = desk.symbols
        self._clock = desk.clock
        self.keep_magic = True  # brokers differ: some write 0 on their own exits (facts §6.5)

    def on_tick(self, name: str) -> None:
        quote = self._market.quote(name)
        assert quote is not None, "a tick leaves a quote"
        for position in self._books.positions_of(name):
            if not position.sl and not position.tp:
                continue
            symbol = self._symbols[name]
            if _beyond(quote, position, position.sl, stop=True):
                comment = f"[sl {symbol.price(position.sl)}]"
                self._exit(position, reason=mt5.DEAL_REASON_SL, comment=comment)
            elif _beyond(quote, position, position.tp, stop=False):
                comment = f"[tp {symbol.price(position.tp)}]"
                self._exit(position, reason=mt5.DEAL_REASON_TP, comment=comment)
        self._stop_out()

    def close(self, position: Position, *, lots: Decimal, reason: int, magic: int, comment: str) -> list[Deal]:
        """Close at market by an order of its own, whatever the depth."""
        side = position.side.opposite
        order = Order(
            ticket=self._books.mint_order_ticket(),
            symbol=position.symbol,
            type=market_type(side),
            state=mt5.ORDER_STATE_PLACED,
            lots=lots,
            rest=lots,
            price=Decimal(0),
            setup_msc=self._clock.now_msc(),
            magic=magic,
            comment=comment,
            filling=mt5.ORDER_FILLING_IOC,
            reason=reason,
            closes=position.ticket,
            position_id=position.identifier,
        )
        self._books.save_order(order)
        return self._matching.fill(order, self._market.take_all(self._symbols[position.symbol], side, lots))

    def roll_over(self) -> None:
        """Charge swap for every midnight since the last call; Wednesday's counts three, the weekend's none."""
        today = datetime.fromtimestamp(self._clock.now(), UTC).date()
        last = self._books.store.get(ROLLOVER_META)
        night = date.fromisoformat(last) if last is not None else today
        if last is not None and today <= night:  # before it, when the clock stepped back over midnight
            return
        nights = 0
        while night < today:
            nights += 0 if night.weekday() >= SATURDAY else 3 if night.weekday() == WEDNESDAY else 1
            night += timedelta(days=1)
        self.charge_swap(nights)
        self._books.store.put(ROLLOVER_META, today.isoformat())

    def charge_swap(self, nights: int) -> None:
        for position in self._books.positions.values():
            swap = self._valuation.swap(self._symbols[position.symbol], position.side, position.lots)
            position.swap += swap * nights
            self._books.save_position(position)

    def stop_out(self, position: Position) -> None:
        """Liquidate the position, whatever the margin."""
        equity, margin = self._account.estimated_equity(), self._account.margin()
        level = margin_level(equity, margin)
        self._exit(position, reason=mt5.DEAL_REASON_SO, comment=f"so {level:.1f}%/{equity:.2f}/{margin:.2f}")

    def _exit(self, position: Position, *, reason: int, comment: str) -> None:
        magic = position.magic if self.keep_magic and not position.loses_magic else 0
        self.close(position, lots=position.lots, reason=reason, magic=magic, comment=comment)

    def _stop_out(self) -> None:
        """Close the worst loser until the margin level is above the stop-out."""
        for _ in range(len(self._books.positions)):
            margin = self._account.margin()
            if margin == 0 or margin_level(self._account.estimated_equity(), margin) > STOP_OUT_PERCENT:
                return
            self.stop_out(min(self._books.positions.values(), key=self._account.profit))


def _beyond(quote: Quote, position: Position, level: Decimal, *, stop: bool) -> bool:
    """Long: SL when bid ≤ level, TP when bid ≥ level; short the same at ask, mirrored."""
    if level == 0:
        return False
    price = quote.touch(position.side.opposite)
    falling = (position.side is Side.BUY) == stop
    return price <= level if falling else price >= level
