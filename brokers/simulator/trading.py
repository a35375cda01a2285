"""What `order_send` does once the checks have passed: orders, levels, removals, closes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from brokers.simulator import constants as mt5
from brokers.simulator.account import margin_level
from brokers.simulator.aftermath import tell
from brokers.simulator.agenda import Duty
from brokers.simulator.checks import API_DISABLED, Checks
from brokers.simulator.clock import end_of_day
from brokers.simulator.desk import Desk
from brokers.simulator.fault_wire import to_wire
from brokers.simulator.faults import Aftermath, AlgoOff, DoneLater, NoLink, Partial, Placed, Reject, Timeout
from brokers.simulator.matching import Matching, reached
from brokers.simulator.positions import PositionKeeping
from brokers.simulator.records import ZERO, Deal, Order, side_of
from brokers.simulator.requests import Answer, NotAnswered, Refusal, TradeRequest
from brokers.simulator.scripts import NO_FAULTS, CallFaults
from brokers.simulator.views import Views

Outcome = Answer | Refusal | NotAnswered


@dataclass(frozen=True, kw_only=True, slots=True)
class Projection:
    """The account as it would stand after the request."""

    balance: Decimal
    equity: Decimal
    profit: Decimal
    margin: Decimal
    margin_free: Decimal
    margin_level: Decimal


class Trading:
    def __init__(
        self, desk: Desk, *, checks: Checks, matching: Matching, keeping: PositionKeeping, views: Views
    ) -> None:
        self._checks = checks
        self._matching = matching
        self._keeping = keeping
        self._views = views
        self._books = desk.books
        self._market = desk.market
        self._account = desk.account
        self._symbols = desk.symbols
        self._clock = desk.clock

    def check(self, request: TradeRequest) -> Projection | Refusal | NotAnswered:
        if (no := self._checks.refusal(request)) is not None:
            return no
        extra = ZERO
        if request.action == mt5.TRADE_ACTION_DEAL and not request.position:
            symbol = self._symbols[request.symbol]
            extra = self._account.extra_margin(symbol, side_of(request.type), request.volume)
        equity, margin = self._account.estimated_equity(), self._account.margin() + extra
        return Projection(
            balance=self._account.balance,
            equity=equity,
            profit=equity - self._account.balance,
            margin=margin,
            margin_free=equity - margin,
            margin_level=margin_level(equity, margin),
        )

    def send(self, request: TradeRequest, faults: CallFaults = NO_FAULTS) -> Outcome:
        """Carry out the request, in the way that the faults ask for."""
        if isinstance(faults.outcome, AlgoOff):
            return API_DISABLED if faults.outcome.by_option else Refusal(mt5.TRADE_RETCODE_CLIENT_DISABLES_AT)
        if (no := self._checks.refusal(request)) is not None:
            return no
        match faults.outcome:
            case Reject(retcode=retcode):
                return Answer(retcode=retcode)
            case NoLink(executed=False):
                return Refusal(mt5.TRADE_RETCODE_CONNECTION)
            case Timeout() | NoLink():
                return self._unclear(request, faults.outcome, faults.aftermath)
            case _:
                return self._carry_out(request, faults)

    def _carry_out(self, request: TradeRequest, faults: CallFaults) -> Answer:
        actions: dict[int, Callable[[TradeRequest, CallFaults], Answer]] = {
            mt5.TRADE_ACTION_DEAL: self._deal,
            mt5.TRADE_ACTION_PENDING: self._pending,
            mt5.TRADE_ACTION_SLTP: self._set_levels,
            mt5.TRADE_ACTION_MODIFY: self._modify,
            mt5.TRADE_ACTION_REMOVE: self._remove,
            mt5.TRADE_ACTION_CLOSE_BY: self._close_by,
        }
        return actions[request.action](request, faults)

    def _unclear(self, request: TradeRequest, fault: Timeout | NoLink, aftermath: Sequence[Aftermath]) -> Answer:
        """An answer that says nothing of what was done: it is done now, later, or never."""
        if fault.executed and not fault.after_ms:
            self._carry_out(request, CallFaults(aftermath=tuple(aftermath)))
        elif fault.executed:
            terms = {"request": request.plain(), "aftermath": [to_wire(told) for told in aftermath]}
            self._books.agenda.add(Duty.REQUEST, due_utc_msc=self._clock.utc_msc() + fault.after_ms, terms=terms)
        timed_out = isinstance(fault, Timeout)
        return Answer(retcode=mt5.TRADE_RETCODE_TIMEOUT if timed_out else mt5.TRADE_RETCODE_CONNECTION)

    def _deal(self, request: TradeRequest, faults: CallFaults) -> Answer:
        order = self._new_order(request, faults.aftermath)
        position = self._checks.position_of(request) if request.position else None
        if position is not None:
            order.closes = position.ticket
            order.position_id = position.identifier
        self._books.save_order(order)
        match faults.outcome:
            case Placed() as placed:
                end = mt5.ORDER_STATE_REJECTED if placed.rejected else mt5.ORDER_STATE_CANCELED
                self._matching.promise(order, self._plan(order, placed), end=end)
                return Answer(retcode=mt5.TRADE_RETCODE_PLACED, order=order.ticket)
            case DoneLater(after_ms=after_ms):
                plan = self._plan(order, Placed(after_ms=after_ms))
                self._matching.promise(order, plan, end=mt5.ORDER_STATE_CANCELED)
                return Answer(retcode=mt5.TRADE_RETCODE_DONE, order=order.ticket, volume=order.lots)
            case Partial(fraction=fraction):
                return self._fill_partly(order, fraction)
            case _:
                return _answer(order, self._matching.execute(order))

    def _fill_partly(self, order: Order, fraction: Decimal) -> Answer:
        symbol = self._symbols[order.symbol]
        lots = self._part(order, fraction)
        deals = self._matching.fill(order, self._market.take_all(symbol, order.side, lots))
        if order.rest > 0 and order.filling != mt5.ORDER_FILLING_RETURN:
            self._matching.give_up(order)
        return _answer(order, deals)

    def _plan(self, order: Order, fault: Placed) -> list[tuple[int, Decimal]]:
        """Equal parts on the volume step, the last taking what is left over, spread up to `after_ms`."""
        total = self._part(order, fault.fraction) if fault.fraction else ZERO
        step = self._symbols[order.symbol].volume_step
        each = total / fault.parts // step * step
        shares = [each] * (fault.parts - 1)
        shares.append(total - sum(shares, ZERO))
        now_msc = self._clock.utc_msc()
        return [(now_msc + fault.after_ms * (n + 1) // fault.parts, lots) for n, lots in enumerate(shares)]

    def _part(self, order: Order, fraction: Decimal) -> Decimal:
        """A fraction of the order on the volume step, at least one step."""
        step = self._symbols[order.symbol].volume_step
        return max(step, order.lots * fraction // step * step)

    def _pending(self, request: TradeRequest, faults: CallFaults) -> Answer:
        order = self._new_order(request, faults.aftermath)
        order.price, order.stoplimit = request.price, request.stoplimit
        order.type_time = request.type_time
        order.expiration = self._end_of(request)
        self._books.save_order(order)
        quote = self._market.quote(order.symbol)
        assert quote is not None, "the checks asked for a quote"
        if order.filling == mt5.ORDER_FILLING_BOC and reached(order, quote):
            self._matching.give_up(order)  # post-only: what would fill at once is cancelled by design
            return Answer(retcode=mt5.TRADE_RETCODE_CANCEL, order=order.ticket)
        retcode = mt5.TRADE_RETCODE_PLACED if isinstance(faults.outcome, Placed) else mt5.TRADE_RETCODE_DONE
        return Answer(retcode=retcode, order=order.ticket, volume=order.lots, price=order.price)

    def _set_levels(self, request: TradeRequest, _: CallFaults) -> Answer:
        position = self._checks.position_of(request)
        assert position is not None, "the checks asked for the position"
        position.sl, position.tp = request.sl, request.tp
        position.update_msc = self._clock.now_msc()
        self._books.save_position(position)
        return Answer(retcode=mt5.TRADE_RETCODE_DONE)

    def _modify(self, request: TradeRequest, _: CallFaults) -> Answer:
        order = self._books.orders[request.order]
        order.price, order.stoplimit = request.price, request.stoplimit
        order.sl, order.tp = request.sl, request.tp
        order.type_time = request.type_time
        order.expiration = self._end_of(request)
        self._books.save_order(order)
        return Answer(retcode=mt5.TRADE_RETCODE_DONE, order=order.ticket, price=order.price)

    def _remove(self, request: TradeRequest, _: CallFaults) -> Answer:
        order = self._books.orders[request.order]
        self._matching.give_up(order)
        return Answer(retcode=mt5.TRADE_RETCODE_DONE, order=order.ticket)

    def _close_by(self, request: TradeRequest, faults: CallFaults) -> Answer:
        position = self._books.positions[request.position]
        partner = self._books.positions[request.position_by]
        order = self._new_order(request, faults.aftermath)
        order.symbol, order.type = position.symbol, mt5.ORDER_TYPE_CLOSE_BY
        order.lots = min(position.lots, partner.lots)
        order.rest = ZERO
        order.price = partner.price_open
        order.closes = position.ticket
        order.position_id, order.position_by_id = position.identifier, partner.identifier
        now_msc = self._clock.now_msc()
        deals = self._keeping.close_by(order, position, partner, now_msc=now_msc)
        self._books.finish(order, mt5.ORDER_STATE_FILLED, now_msc=now_msc)
        return _answer(order, deals[:1])

    def _new_order(self, request: TradeRequest, aftermath: Sequence[Aftermath]) -> Order:
        order = Order(
            ticket=self._books.mint_order_ticket(),
            symbol=request.symbol,
            type=request.type,
            state=mt5.ORDER_STATE_PLACED,
            lots=request.volume,
            rest=request.volume,
            price=ZERO,
            setup_msc=self._clock.now_msc(),
            sl=request.sl,
            tp=request.tp,
            magic=request.magic,
            comment=request.comment,
            filling=request.type_filling,
            reason=request.reason,
        )
        tell(order, aftermath)
        self._views.hold(order, aftermath)
        return order

    def _end_of(self, request: TradeRequest) -> int:
        """The last server second of the order's life, 0 for no end."""
        if request.type_time == mt5.ORDER_TIME_DAY:
            return end_of_day(self._clock.now())
        if request.type_time == mt5.ORDER_TIME_SPECIFIED_DAY:
            return end_of_day(request.expiration)
        return request.expiration if request.type_time == mt5.ORDER_TIME_SPECIFIED else 0


def _answer(order: Order, deals: list[Deal], *, retcode: int | None = None) -> Answer:
    """10009 when filled or the rest keeps working, 10010 when the rest was cancelled, 10006 when all was."""
    lots = sum((deal.lots for deal in deals), ZERO)
    if retcode is None:
        if not deals:
            working = order.state == mt5.ORDER_STATE_PLACED
            retcode = mt5.TRADE_RETCODE_PLACED if working else mt5.TRADE_RETCODE_REJECT
        elif order.state == mt5.ORDER_STATE_CANCELED:
            retcode = mt5.TRADE_RETCODE_DONE_PARTIAL
        else:
            retcode = mt5.TRADE_RETCODE_DONE
    average = sum((deal.lots * deal.price for deal in deals), ZERO) / lots if lots else ZERO
    return Answer(
        retcode=retcode,
        order=order.ticket,
        deal=deals[0].ticket if deals else 0,
        volume=lots,
        price=average,
    )
