"""What a new password must be: long and not to be guessed. It need not mix kinds of characters, and it never ages.

Fifteen characters are what NIST SP 800-63B-4 asks of a password that stands alone, as it does for whoever has no
second factor. `blocked_passwords.txt` has what common lists know of that length: those of zxcvbn and of Django.
"""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

LENGTH_MIN, LENGTH_MAX = 15, 128
# Of what stays when everybody's words are taken out, there must be as much as that.
_OWN_LENGTH_MIN = 8
_DISTINCT_MIN = 5

_EVERYBODYS = (
    *(
        "password",
        "passwort",
        "passphrase",
        "secret",
        "welcome",
        "letmein",
        "changeme",
        "iloveyou",
        "administrator",
    ),
    *(
        "admin",
        "nexus",
        "trading",
        "trader",
        "trade",
        "broker",
        "metatrader",
        "metaquotes",
        "forex",
        "eurusd",
        "mt5",
    ),
    *(
        "qwertyuiop",
        "qwerty",
        "qwertz",
        "azerty",
        "asdfghjkl",
        "asdf",
        "zxcvbnm",
        "abcdef",
        "1q2w3e4r",
        "1qaz2wsx",
    ),
    *("1234567890", "0123456789", "123456789", "12345678", "123456", "12345", "1234", "987654321", "111", "000"),
)


def objection(password: str, *, username: str) -> str | None:
    """What is wrong with a new password, and what would mend it; None if nothing is."""
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        return f"has {len(password)} characters; it must have {LENGTH_MIN} to {LENGTH_MAX}"
    folded = password.casefold()
    if folded in _blocked() or len(set(folded)) < _DISTINCT_MIN or re.fullmatch(r"(.{1,12})\1+.{0,11}", folded):
        return "is one that guessers try first; take several words that have nothing to do with each other"
    if len(_own_part(folded, (username.casefold(), *_EVERYBODYS))) < _OWN_LENGTH_MIN:
        return "is made of your name or of words that guessers try first; add words of your own"
    return None


def _own_part(folded: str, words: Iterable[str]) -> str:
    for word in sorted(words, key=len, reverse=True):
        folded = folded.replace(word, "")
    return re.sub(r"[\W_]", "", folded)


@cache
def _blocked() -> frozenset[str]:
    found = Path(__file__).with_name("blocked_passwords.txt").read_text(encoding="utf-8")
    return frozenset(found.splitlines())
