"""When digests are due, in every zone and over every change of the clocks."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import given
from hypothesis import strategies as st

from duely.notifications.rules import day_bounds, day_of, digest_at, next_digest

ZONES = sorted(available_timezones() - {"localtime", "Factory"})
INSTANTS = st.integers(946_684_800, 2_051_222_400).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
# These have crossed the date line: one of their days never was, or was twice.
CROSSED = {"Pacific/Apia", "Pacific/Fakaofo"}


@given(st.integers(0, 23), st.sampled_from(ZONES), INSTANTS)
def test_a_digest_comes_once_for_each_day(hour: int, zone: str, start: datetime) -> None:
    now, days = start, []
    for _ in range(4):
        following = next_digest(hour, zone, now)
        assert now < following <= now + timedelta(hours=50)
        days.append(day_of(following, zone))
        now = following
    steps = {later - earlier for earlier, later in pairwise(days)}
    assert steps == {timedelta(days=1)} or zone in CROSSED


def test_a_skipped_hour_is_the_moment_after_the_gap() -> None:
    # Berlin, 2026-03-29: 02:00 does not exist.
    due = digest_at(date(2026, 3, 29), 2, "Europe/Berlin")
    assert due == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert due.astimezone(ZoneInfo("Europe/Berlin")).hour == 3


def test_of_an_hour_that_occurs_twice_the_first_counts() -> None:
    # Berlin, 2026-10-25: 02:00 comes at 00:00 and at 01:00 UTC.
    first = next_digest(2, "Europe/Berlin", datetime(2026, 10, 24, 12, 0, tzinfo=UTC))
    assert first == datetime(2026, 10, 25, 0, 0, tzinfo=UTC)
    assert next_digest(2, "Europe/Berlin", first) == datetime(2026, 10, 26, 1, 0, tzinfo=UTC)


def test_a_digest_due_now_is_not_the_next_one() -> None:
    noon = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    assert next_digest(12, "UTC", noon) == noon + timedelta(days=1)
    assert next_digest(12, "UTC", noon - timedelta(milliseconds=1)) == noon


@given(st.sampled_from(ZONES), INSTANTS)
def test_an_instant_is_within_the_bounds_of_its_day(zone: str, instant: datetime) -> None:
    start, end = day_bounds(day_of(instant, zone), zone)
    assert start <= instant < end


def test_days_of_23_and_25_hours() -> None:
    start, end = day_bounds(date(2026, 3, 29), "Europe/Berlin")
    assert end - start == timedelta(hours=23)
    start, end = day_bounds(date(2026, 10, 25), "Europe/Berlin")
    assert end - start == timedelta(hours=25)
