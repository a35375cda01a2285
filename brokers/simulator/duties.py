"""The broker keeping its agenda: late executions, late charges, a link that comes back."""

from decimal import Decimal
from typing import Any, cast

from brokers.simulator import constants as mt5
from brokers.simulator.agenda import Duty
from brokers.simulator.checks import Switches
from brokers.simulator.desk import Desk
from brokers.simulator.fault_wire import all_from_wire
from brokers.simulator.faults import Aftermath
from brokers.simulator.records import Deal
from brokers.simulator.requests import TradeRequest
from brokers.simulator.scripts import CallFaults
from brokers.simulator.trading import Trading
from brokers.simulator.views import Views


class Duties:
    def __init__(self, desk: Desk, *, trading: Trading, switches: Switches, views: Views) -> None:
        self._books = desk.books
        self._clock = desk.clock
        self._trading = trading
        self._switches = switches
        self._views = views

    def perform(self) -> None:
        """Do whatever is due by now."""
        for entry in self._books.agenda.take_due(self._clock.utc_msc()):
            match entry.duty:
                case Duty.REQUEST:
                    self._carry_out(entry.terms)
                case Duty.COMMISSION:
                    self._charge(entry.terms)
                case Duty.RECONNECT:
                    self._switches.connected = True
                    self._views.forget_history(for_ms=entry.terms["sync_ms"])
                case Duty.SWITCH_BACK:
                    self._switches.other_account = None

    def _carry_out(self, terms: dict[str, Any]) -> None:
        """The request as it would fare now; nobody is there to hear the answer."""
        aftermath = cast("list[Aftermath]", all_from_wire(terms["aftermath"]))
        self._trading.send(TradeRequest.from_plain(terms["request"]), CallFaults(aftermath=tuple(aftermath)))

    def _charge(self, terms: dict[str, Any]) -> None:
        self._books.add_deal(
            Deal(
                ticket=0,
                order_ticket=terms.get("order_ticket", 0),
                symbol=terms.get("symbol", ""),
                type=mt5.DEAL_TYPE_COMMISSION,
                entry=mt5.DEAL_ENTRY_IN,
                position_id=terms.get("position_id", 0),
                reason=mt5.DEAL_REASON_CLIENT,
                time_msc=self._clock.now_msc(),
                magic=terms.get("magic", 0),
                commission=Decimal(terms["commission"]),
                comment=terms["comment"],
            )
        )
