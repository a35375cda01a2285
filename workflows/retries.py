"""Every timeout and retry of the workflows, named, with its reason."""

from datetime import timedelta

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType, ActivityConfig, LocalActivityConfig

# Our own database, idempotent and under a second. `maximum_attempts` is what ends a local activity: the timeouts
# of one do not stop its retries. A longer backoff than the threshold leaves the workflow task, so that answers
# and signals are not held up.
BOOKS = LocalActivityConfig(
    start_to_close_timeout=timedelta(seconds=5),
    local_retry_threshold=timedelta(milliseconds=500),
    retry_policy=RetryPolicy(maximum_attempts=3, initial_interval=timedelta(milliseconds=50)),
)

# The same work while PostgreSQL is away: visible in the Web UI and patient, because a trade is never given up.
BOOKS_PATIENT = ActivityConfig(
    start_to_close_timeout=timedelta(seconds=15),
    retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=10)),
)

# A send happens once: its second attempt would be a second order. The heartbeat tells a dead worker early; the
# whole covers the broker call's own deadline, the wait for the sender's lane and the booking of the answer.
SUBMIT = ActivityConfig(
    start_to_close_timeout=timedelta(seconds=90),
    heartbeat_timeout=timedelta(seconds=3),
    cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry_policy=RetryPolicy(maximum_attempts=1),
)

# An order that came late still gets this long for a sender to take it.
START_MARGIN = timedelta(seconds=1)

# Before another try of a submit that failed without having claimed anything.
SUBMIT_PAUSE = timedelta(milliseconds=500)

# Before the next try to hold the risk of a recovering trade whose account, symbol or quote nobody has read yet.
FACTS_PAUSE = timedelta(seconds=5)

# Looking up, cancelling and modifying are harmless to repeat.
BROKER_REPEATABLE = ActivityConfig(
    start_to_close_timeout=timedelta(seconds=60),
    heartbeat_timeout=timedelta(seconds=5),
    retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=10)),
)

# One look-up after another while an outcome is unknown: quick at first, then steady.
RESOLVE_INTERVALS = tuple(timedelta(seconds=seconds) for seconds in (1, 2, 5, 10, 10, 10, 30, 30, 60))

# The feed signals each change; this poll of the books only guards against a lost signal.
SAFETY_POLLS = (timedelta(seconds=30), timedelta(minutes=1), timedelta(minutes=5))

FEED = ActivityConfig(
    start_to_close_timeout=timedelta(hours=6),
    heartbeat_timeout=timedelta(seconds=5),
    retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=5)),
)


# A stop's look at the broker, cancels included; the next round is soon, so it is not repeated for long.
SWEEP = ActivityConfig(
    start_to_close_timeout=timedelta(seconds=60),
    heartbeat_timeout=timedelta(seconds=5),
    retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=3),
)
# An account whose sender does not take a sweep by then is named in the certificate, and tried again.
SWEEP_START = timedelta(seconds=5)
# How long a round waits for its closes; those without an end go on while the next round begins.
CLOSE_PATIENCE = timedelta(seconds=15)
# From one round of a stop to the next, while something is still open: a closed market takes its time.
STOP_ROUNDS = tuple(timedelta(milliseconds=ms) for ms in (200, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000))

# The reconciliation's look at both sides; it repeats soon by itself.
COMPARE = ActivityConfig(
    start_to_close_timeout=timedelta(seconds=60),
    heartbeat_timeout=timedelta(seconds=5),
    retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_attempts=3),
)
# Without a sender that takes it by then, the run ends as inconclusive.
COMPARE_START = timedelta(seconds=20)
# From the first reading to the second: longer than the quiet period of a comparison, so that what had just
# happened by the first is at rest by the second.
CONFIRM_AFTER = timedelta(seconds=3)
# When people are told again of a discrepancy that nobody has decided.
REMINDERS = tuple(timedelta(minutes=minutes) for minutes in (15, 60, 240, 720, 1_440))


def at_broker(config: ActivityConfig, *, queue: str, summary: str) -> ActivityConfig:
    """`config` on a broker's queue, with the line that the Web UI shows."""
    return {**config, "task_queue": queue, "summary": summary}
