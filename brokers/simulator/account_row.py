"""The account as `account_info` shows it."""

from typing import Any

from brokers.simulator import constants as mt5
from brokers.simulator.account import MARGIN_CALL_PERCENT, STOP_OUT_PERCENT, MarginMode, margin_level
from brokers.simulator.faults import AccountSwitched
from brokers.simulator.structs import AccountInfo
from brokers.simulator.terminal import Terminal

COMPANY = "Simulated Markets"


def account_row(terminal: Terminal) -> list[Any]:
    account, switches, terms = terminal.account, terminal.switches, terminal.terms
    if switches.other_account is not None:
        return _other_account(switches.other_account)
    floating, margin = account.floating(), account.margin()
    equity = account.balance + account.credit + floating
    hedging = terms.margin_mode is MarginMode.HEDGING
    return AccountInfo.row(
        login=terms.login,
        trade_mode=mt5.ACCOUNT_TRADE_MODE_DEMO,
        leverage=terms.leverage,
        limit_orders=switches.limit_orders,
        margin_so_mode=mt5.ACCOUNT_STOPOUT_MODE_PERCENT,
        # Also false while the broker's link is down (facts §4.6).
        trade_allowed=switches.account_trade_allowed and switches.connected,
        trade_expert=switches.account_trade_expert,
        margin_mode=mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING if hedging else mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING,
        currency_digits=terminal.valuation.digits,
        balance=account.balance,
        credit=account.credit,
        profit=floating,
        equity=equity,
        margin=margin,
        margin_free=equity - margin,
        margin_level=margin_level(equity, margin),
        margin_so_call=MARGIN_CALL_PERCENT,
        margin_so_so=STOP_OUT_PERCENT,
        name="Simulated Account",
        server=terms.server,
        currency=terms.currency,
        company=COMPANY,
    )


def _other_account(other: AccountSwitched) -> list[Any]:
    """An account of somebody else's: empty, and closed to trading."""
    return AccountInfo.row(
        login=other.login,
        server=other.server,
        trade_mode=other.trade_mode,
        leverage=100,
        margin_mode=mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING,
        currency_digits=2,
        name="Another Account",
        currency="USD",
        company=COMPANY,
    )
