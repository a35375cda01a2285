"""Where a change comes from: by which request, and from which address; who asked is the actor's to say."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The request that led to what is done now, and its API key; None stands for what no request led to."""

    address: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    key_id: str | None = None


# Of the task that runs: the API sets it for each request, the workers for each activity.
origin: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039 - frozen
