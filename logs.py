"""How a process logs: to standard error, one line for each message, whatever was put into it."""

import logging

# What would begin a line of its own, or move the cursor of a terminal that shows it.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}


class OneLine(logging.Formatter):
    """A trace of calls keeps its lines, each of which begins with a blank or names the error."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        return super().formatMessage(record).translate(_CONTROLS)


def log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
