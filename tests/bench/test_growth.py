"""The pure parts of the benchmark of growth."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))

import growth
from growth import BEHIND, BEHIND_DUE, CLOCK, FIRST, FIRST_DUE, ONE, Figures

SIZES = (100_000, 10_000_000)


def figures(**slow: float) -> list[Figures]:
    """Each operation takes 1, 2 and 3 ms, and so many times as long with the most tasks."""
    names = [(ONE, name) for name in (FIRST, BEHIND, FIRST_DUE, BEHIND_DUE)] + [(CLOCK, "sweep")]
    return [
        Figures(who, name, size, [ms * (slow.get(name, 1.0) if size == max(SIZES) else 1.0) for ms in (1.0, 2.0, 3.0)])
        for who, name in names
        for size in SIZES
    ]


def failed(found: list[Figures]) -> list[str]:
    return [check.found for check in growth.checks(found, dict.fromkeys(SIZES, 200_000), SIZES[0]) if not check.is_met]


def test_what_takes_as_long_with_more_tasks_passes() -> None:
    assert failed(figures()) == []
    assert failed(figures(sweep=1.4)) == []


def test_what_takes_longer_with_more_tasks_is_named() -> None:
    assert failed(figures(sweep=1.6)) == ["sweep of the clock: x 1.60"]


@pytest.mark.parametrize("behind", [BEHIND, BEHIND_DUE])
def test_a_page_far_behind_may_not_take_longer_than_the_first(behind: str) -> None:
    assert failed(figures(**{behind: 1.3})) == ["x 1.30"]


def test_a_wrong_status_fails() -> None:
    found = figures()
    found[0].wrong = 2
    assert failed(found) == [f"2 of {FIRST} at 100,000"]


def test_what_is_beside_each_other_is_compared() -> None:
    """A machine that gets slower meanwhile does not show."""
    assert growth.ratio(Figures(CLOCK, "sweep", 2, [2.0, 4.0, 8.0]), Figures(CLOCK, "sweep", 1, [1.0, 2.0, 4.0])) == 2.0


def test_the_table_has_a_line_for_each_operation() -> None:
    lines = growth.table(figures(sweep=2.0), SIZES, SIZES[0]).splitlines()
    assert lines[-2].split()[-3:] == ["100,000", "10,000,000", "growth"]
    assert lines[-1].split()[-4:] == ["2.00", "4.00", "x", "2.00"]
