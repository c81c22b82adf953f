"""One form in which names are compared: of users, categories and tags. Pure."""

import unicodedata

MAX_NORMAL = 1000
"""Characters of what may become a name or an address once it is in one Unicode form."""

_INVISIBLE = dict.fromkeys((0x200C, 0x200D, 0xFE0E, 0xFE0F))
"""Joiners, and signs that choose between text and emoji: they change how a letter looks, not which one it is."""


def normal(text: str) -> str:
    """In one Unicode form (NFKC, UAX #15), unless it is too long for a name or an address anyway.

    That takes time with the square of the length where combining characters are out of order.
    """
    return unicodedata.normalize("NFKC", text) if len(text) <= MAX_NORMAL else text


def fold(text: str) -> str:
    """The form in which names and addresses are compared: no case, no compatibility variants, no joiners."""
    return normal(normal(text).casefold()).translate(_INVISIBLE)
