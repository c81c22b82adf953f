"""The form in which names of users, categories and tags are compared (decision 0028). Pure."""

import unicodedata

MAX_NORMAL = 1000
"""Longer texts are not normalized: they are too long for a name or an address."""

_INVISIBLE = dict.fromkeys((0x200C, 0x200D, 0xFE0E, 0xFE0F))
"""Joiners and variation selectors. They change how a letter looks, but not which letter it is."""


def normal(text: str) -> str:
    """The text in the Unicode form NFKC (UAX #15), unless it is too long for a name or an address.

    For combining characters out of order, this takes time with the square of the length (decision 0018).
    """
    return unicodedata.normalize("NFKC", text) if len(text) <= MAX_NORMAL else text


def fold(text: str) -> str:
    """The form in which names and addresses are compared: no case, no compatibility variants, no joiners."""
    return normal(normal(text).casefold()).translate(_INVISIBLE)
