"""What a plain word of YAML means; what programs read in different ways is refused. Pure."""

import math
import re

_WORDS: dict[str, bool | None] = {
    spelling: value
    for word, value in {
        "true": True,
        "yes": True,
        "on": True,
        "false": False,
        "no": False,
        "off": False,
        "null": None,
    }.items()
    for spelling in (word, word.capitalize(), word.upper())
} | {"": None, "~": None}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,19})")
_FRACTION = re.compile(r"[-+]?(0|[1-9][0-9]{0,19})?\.[0-9]{1,20}([eE][-+]?[0-9]{1,3})?")
_ODD = re.compile(
    r"[-+]?(0[0-9_]+|0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+|[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?"
    r"|[1-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|[0-9]{21,}|[0-9]+\.[eE]?[-+]?[0-9]*)"
)
_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def read_plain(word: str) -> str | int | float | bool | None:
    """Give the value of an unquoted word: text, number, truth value or nothing. Dates stay text.

    Raises:
        ValueError: some programs read it as another number, or it is no number at all.
    """
    if word in _WORDS:
        return _WORDS[word]
    if word[0] not in "0123456789+-.":
        return word
    if _INTEGER.fullmatch(word):
        return int(word)
    if _FRACTION.fullmatch(word) and math.isfinite(float(word)):
        return float(word)
    if _NO_NUMBER.fullmatch(word) or _FRACTION.fullmatch(word):
        raise ValueError("is no finite number; write one")
    if _ODD.fullmatch(word):
        raise ValueError("is a number that programs read in different ways; quote it, or write it plainly")
    return word
