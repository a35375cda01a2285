"""What one lot of a symbol is: the numbers that turn a volume and a price into money."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What an order was sized by; another contract under the same symbol makes it another order."""

    contract_size: Decimal
    tick_size: Decimal
    point: Decimal
    digits: int

    def changes(self, live: "Contract") -> dict[str, tuple[str, str]]:
        """What differs in `live`, each with what it was and what it is."""
        return {
            name: (written(value), written(getattr(live, name)))
            for name, value in vars(self).items()
            if value != getattr(live, name)
        }


def written(value: object) -> str:
    """A term as text that is equal exactly where the terms are: 100 and 1E+2 are the same, 0.10 and 0.1 too."""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}" if value else "0"
    if isinstance(value, tuple):
        return ", ".join(sorted(str(item) for item in value)) or "none"
    return str(value)
