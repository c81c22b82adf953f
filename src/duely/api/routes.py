"""How paths name things."""

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.urls import resolve


class IdConverter:
    """A UUID in a path, in either case. Anything else is an unknown path, so 404."""

    regex = "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"

    def to_python(self, value: str) -> UUID:
        """The id."""
        return UUID(value)

    def to_url(self, value: UUID) -> str:
        """Its canonical form."""
        return str(value)


_ID = re.compile(f"({IdConverter.regex})")
_known: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {}
"""Views by their paths, with `*` for each id: as many as there are routes."""


def resolved(path: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The view of a path and what it takes from it, as Django's `resolve`, which tries one route after the other.

    Raises Resolver404.
    """
    parts = _ID.split(path)
    ids, shape = parts[1::2], "*".join(parts[::2])
    if (known := _known.get(shape)) and len(known[1]) == len(ids):
        view, names = known
        return view, {name: UUID(text) for name, text in zip(names, ids, strict=True)}
    match = resolve(path)
    if len(match.kwargs) == len(ids) and not match.args:
        _known[shape] = (match.func, tuple(match.kwargs))
    return match.func, match.kwargs
