"""Nobody is known to the guard when a test begins."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def nobody_has_come_yet() -> Iterator[None]:
    from duely.guard.watch import watch

    watch.forget()
    yield
    watch.forget()
