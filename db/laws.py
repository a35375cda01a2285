"""What a law of the books is: a number of things to look at, and queries that name each one that breaks it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# A read and a booking that happen at the same time may each be stamped first, so only what is further apart is
# compared.
AT_ONCE = "INTERVAL '1 second'"


@dataclass(frozen=True, kw_only=True)
class Law:
    """`checked` is a query for one number; each of `violations` answers with one text per breach of the law."""

    number: int
    title: str
    checked: str
    violations: tuple[str, ...]
    parameters: Mapping[str, object] = field(default_factory=dict)
