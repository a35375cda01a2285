class StackError(Exception):
    """The embedded stack cannot go on; the message is one line for the person at the terminal."""
