"""Paths: ids in them, and a cache of routes."""

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.urls import resolve


class IdConverter:
    """A UUID in a path, in upper or lower case. Anything else makes the path unknown: 404."""

    regex = "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"

    def to_python(self, value: str) -> UUID:
        """The id."""
        return UUID(value)

    def to_url(self, value: UUID) -> str:
        """The canonical form of the id."""
        return str(value)


_ID = re.compile(f"({IdConverter.regex})")
_views: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {}
"""The view and the names of the ids by path, with `*` in place of each id. Not larger than the number of routes."""


def resolve_path(path: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The view of a path and its arguments, like Django's `resolve`. Raises Resolver404.

    Cached, because Django tries one route after the other for each request (decision 0021).
    """
    parts = _ID.split(path)
    ids, shape = parts[1::2], "*".join(parts[::2])
    cached = _views.get(shape)
    if cached is not None and len(cached[1]) == len(ids):
        view, names = cached
        return view, {name: UUID(text) for name, text in zip(names, ids, strict=True)}
    match = resolve(path)
    # A view with other arguments than ids is not cached, because the path without its ids does not determine them.
    if len(match.kwargs) == len(ids) and not match.args:
        _views[shape] = (match.func, tuple(match.kwargs))
    return match.func, match.kwargs
