"""Jobs that exist only here."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from duely.jobs import registry
from duely.jobs.registry import Definition

if TYPE_CHECKING:
    from jobs.rig import Rig

Define = Callable[..., Definition]


@pytest.fixture
def define() -> Iterator[Define]:
    """Make a job for one test: `define(run, attempts=3)`; the function may be left out."""
    before = dict(registry.known())

    def make(
        run: Callable[..., None] = lambda running, **ids: None, *, name: str = "test.job", **how: Any
    ) -> Definition:
        return registry.job(name, **how)(run)

    yield make
    registry._known.clear()
    registry._known.update(before)


@pytest.fixture
def only_ours(define: Define) -> None:
    """No schedule but those that the test defines."""
    registry._known.clear()


@pytest.fixture
def rig(committed_db: None, tmp_path: Path) -> Iterator["Rig"]:
    """Real processes on the test's database."""
    from jobs import rig

    before = dict(registry.known())
    rig.make_table()
    built = rig.Rig(tmp_path)
    yield built
    built.clean_up()
    rig.drop_table()
    registry._known.clear()
    registry._known.update(before)
