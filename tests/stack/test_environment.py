"""What a person sets for the embedded stack reaches its programs."""

import re

from settings import BrokerSettings, PipelineSettings
from stack.environment import StackSettings
from stack.state import CHECKOUT


def test_the_bounds_and_the_interval_of_the_reconciliation_are_handed_on() -> None:
    named = set(re.findall(r"^(RECONCILIATION_\w+)=", (CHECKOUT / ".env.example").read_text(), flags=re.MULTILINE))
    told = {
        "RECONCILIATION_INTERVAL_SECONDS": "30",
        "RECONCILIATION_REVIEW_USD": "50",
        "RECONCILIATION_STOP_USD": "250",
        "RECONCILIATION_STOPS": "all",
    }
    assert set(told) == named

    handed_on = StackSettings.from_environ(told).handed_on

    assert handed_on == told
    shared = {"DATABASE_URL": "postgresql://nexus@127.0.0.1/nexus", **handed_on}
    pipeline = PipelineSettings.from_environ(shared)
    assert (pipeline.reconciliation_review_usd, pipeline.reconciliation_stop_usd) == (50, 250)
    assert pipeline.reconciliation_stops_all
    broker = BrokerSettings.from_environ({**shared, "MT5_LOGIN": "1", "MT5_SERVER": "Demo"})
    assert broker.reconciliation_interval.total_seconds() == 30
