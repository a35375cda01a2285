"""The search attributes of our workflows: how operators filter them in the Temporal Web UI.

They hold no login numbers or user names: payload encryption does not cover them.
"""

from temporalio.common import SearchAttributeKey

USER = SearchAttributeKey.for_keyword("TradeUser")
ACCOUNT = SearchAttributeKey.for_keyword("TradeAccount")
SYMBOL = SearchAttributeKey.for_keyword("TradeSymbol")
STATE = SearchAttributeKey.for_keyword("TradeState")
NEEDS_ATTENTION = SearchAttributeKey.for_bool("TradeNeedsAttention")

KEYS = (USER, ACCOUNT, SYMBOL, STATE, NEEDS_ATTENTION)
