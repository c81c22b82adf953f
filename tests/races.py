"""Several things at once, each in a thread with a connection of its own."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection


def together(*works: Callable[[], Any]) -> list[Any]:
    """All of them at once; the results in order."""
    connection.close()
    barrier = threading.Barrier(len(works))

    def start(work: Callable[[], Any]) -> Any:
        barrier.wait(10)
        return in_thread(work)

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(60) for future in [pool.submit(start, work) for work in works]]


def in_thread(work: Callable[[], Any]) -> Any:
    """What a thread does: the work, and giving its connection back."""
    try:
        return work()
    finally:
        connection.close()


def in_background(work: Callable[[], object]) -> threading.Thread:
    """A thread that does the work, begun."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def joined(*threads: threading.Thread) -> None:
    """Wait until all have ended."""
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
