"""Who works and who waits, within one process.

A process has more threads than requests that are worked on at once: too many that all want to run Python only slow each
other down, but one that waits for a slow client, or for a password to be hashed, is in nobody's way.
"""

import io
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import connection

from duely.guard.middleware import MAX_BODY_BYTES

Application = Callable[..., Iterable[bytes]]

_LENGTH = re.compile(r"[1-9][0-9]{0,6}")
_places = threading.BoundedSemaphore(settings.WEB_AT_ONCE)
_mine = threading.local()


def in_turn(application: Application) -> Application:
    """Let so many requests be worked on at once. A body comes in first, as slowly as its client sends it."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH") or "0"
        # The guard refuses a longer one, or one that is no number, without reading it.
        if _LENGTH.fullmatch(length) and int(length) <= MAX_BODY_BYTES:
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(length)))
        with _places:
            _mine.is_held = True
            try:
                return application(environ, start_response)
            finally:
                _mine.is_held = False

    return wrapped


@contextmanager
def aside() -> Iterator[None]:
    """Let others work while this request waits for what needs neither Python nor the database.

    Outside of a request, and within a transaction, it does nothing.
    """
    if not getattr(_mine, "is_held", False) or connection.in_atomic_block:
        yield
        return
    if connection.vendor == "postgresql":
        connection.close()  # back to the pool, which has one for each that works
    _places.release()
    try:
        yield
    finally:
        _places.acquire()
