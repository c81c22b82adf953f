"""Answers of the API: Django's responses at a fifth of the cost (decision 0024)."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from http.cookies import SimpleCookie
from typing import Any

from django.http import HttpResponse
from django.http.response import ResponseHeaders


class Headers(ResponseHeaders):
    """The headers of an answer. Text that needs no encoding is stored unchanged."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._store

    def __setitem__(self, name: str, value: str | bytes | int) -> None:
        self.put([(name, value)])

    def put(self, headers: Iterable[tuple[str, str | bytes | int]]) -> None:
        """Set several headers."""
        for name, value in headers:
            # Django encodes each name and value of every answer, which costs several calls each (decision 0024).
            if isinstance(value, str) and value.isascii() and value.isprintable():
                self._store[name.lower()] = (name, value)
            else:
                super().__setitem__(name, value)

    def items(self) -> Any:
        """Pairs of name and value."""
        return self._store.values()


class Answer(HttpResponse):
    """An answer with an encoded body. It has a content type only if one is given."""

    closed = False
    _charset = _reason_phrase = _handler_class = None

    def __init__(
        self,
        body: bytes = b"",
        *,
        status: int = 200,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Set the same attributes as Django's HttpResponse; some are computed on first access. A test compares both.

        Django's own `__init__` takes five times as long (decision 0024).
        """
        self.status_code = status
        self._container = [body]
        self.headers = Headers.__new__(Headers)
        self.headers._store = {}
        if headers:
            self.headers.put(headers.items())
        if content_type is not None:
            self.headers._store["content-type"] = ("Content-Type", content_type)

    @cached_property
    def cookies(self) -> SimpleCookie:  # type: ignore[override]
        """No cookies. Made on first access."""
        return SimpleCookie()

    @cached_property
    def _resource_closers(self) -> list[Any]:
        return []


JSON = "application/json"
