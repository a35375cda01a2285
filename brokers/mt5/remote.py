"""Runs beside the package: in the child itself, or, sent over as text, in the bridge's Python under Wine.

Therefore the standard library alone, and nothing newer than Python 3.8.
"""

from __future__ import annotations

import json
from typing import Any


def plain(value: Any) -> Any:
    """The same data without the package's struct types, which neither pickle nor travel."""
    if hasattr(value, "_asdict"):
        return {name: plain(part) for name, part in value._asdict().items()}
    if isinstance(value, (tuple, list)):
        return [plain(part) for part in value]
    return value


def call_as_text(package: Any, name: str, arguments: str) -> str:
    """Call and `last_error` in one step, so that no other caller comes between; JSON in and out."""
    positional, keywords = json.loads(arguments)
    value = getattr(package, name)(*positional, **keywords)
    return json.dumps([plain(value), package.last_error()])
