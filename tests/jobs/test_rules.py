"""When a job runs again, and when a schedule is due next."""

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from duely.jobs.rules import FIRST_RETRY, LONGEST_RETRY, SPREAD, next_run, retry_after

instants = st.integers(0, 10**10).map(lambda milliseconds: datetime.fromtimestamp(milliseconds / 1000, UTC))
spans = st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=400))


@given(attempts=st.integers(1, 10_000), chance=st.floats(0, 1))
@example(attempts=1, chance=0.0)
@example(attempts=10_000, chance=1.0)
def test_every_wait_is_within_its_bounds(attempts: int, chance: float) -> None:
    wait = retry_after(attempts, chance)
    middle = min(FIRST_RETRY * 2 ** min(attempts - 1, 30), LONGEST_RETRY)
    slack = timedelta(microseconds=2)
    assert middle * (1 - SPREAD) - slack <= wait <= middle * (1 + SPREAD) + slack


@given(attempts=st.integers(1, 50), chance=st.floats(0, 1))
def test_waits_grow(attempts: int, chance: float) -> None:
    assert retry_after(attempts + 1, chance) >= retry_after(attempts, chance)


def test_the_first_waits_double_from_five_seconds() -> None:
    assert [retry_after(attempt, 0.5).total_seconds() for attempt in (1, 2, 3, 4)] == [5, 10, 20, 40]


def test_the_random_part_of_a_wait_is_a_fifth() -> None:
    assert retry_after(1, 0.0) == timedelta(seconds=4)
    assert retry_after(1, 1.0) == timedelta(seconds=6)


@given(previous=instants, every=spans, now=instants)
def test_the_next_run_is_at_most_one_interval_away(previous: datetime, every: timedelta, now: datetime) -> None:
    following = next_run(previous, every, now)
    assert following > now
    assert following <= max(now, previous) + every


@given(previous=instants, every=spans, now=instants)
def test_the_next_run_stays_on_the_grid(previous: datetime, every: timedelta, now: datetime) -> None:
    assert (next_run(previous, every, now) - previous) % every == timedelta()
