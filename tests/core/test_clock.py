from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duely.core.clock import now, parse_day, parse_instant, rfc3339


def test_now_is_the_present_in_utc_cut_to_milliseconds() -> None:
    before = datetime.now(UTC)
    instants = [now() for _ in range(50)]
    assert before - timedelta(milliseconds=1) < instants[0] <= instants[-1] <= datetime.now(UTC)
    assert {instant.tzinfo for instant in instants} == {UTC}
    assert {instant.microsecond % 1000 for instant in instants} == {0}


@pytest.mark.parametrize(
    "instant, text",
    [
        (datetime(2026, 1, 31, 9, tzinfo=UTC), "2026-01-31T09:00:00.000Z"),
        (datetime(2026, 1, 31, 9, 0, 0, 120999, tzinfo=UTC), "2026-01-31T09:00:00.120Z"),
        (datetime(2026, 1, 31, 1, tzinfo=timezone(timedelta(hours=2))), "2026-01-30T23:00:00.000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_instants_are_written_in_utc_with_milliseconds_and_z(instant: datetime, text: str) -> None:
    assert rfc3339(instant) == text


def test_days_are_read_in_one_form() -> None:
    assert parse_day("2024-02-29") == date(2024, 2, 29)
    assert parse_day("0001-01-01") == date(1, 1, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20240229",
        "2024-W09-4",
        "2024W094",
        "2024-060",
        "2023-02-29",
        "2024-2-29",
        " 2024-02-29",
        "2024-02-29\n",
        "２024-02-29",
    ],
)
def test_other_text_is_no_day(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_day(text)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("2026-01-31T09:00:00Z", datetime(2026, 1, 31, 9, tzinfo=UTC)),
        ("2026-01-31T09:00:00+02:00", datetime(2026, 1, 31, 7, tzinfo=UTC)),
        ("2026-01-31T09:00:00-02:00", datetime(2026, 1, 31, 11, tzinfo=UTC)),
        ("2026-01-31t09:00z", datetime(2026, 1, 31, 9, tzinfo=UTC)),
        ("2026-01-31 09:00:00.5Z", datetime(2026, 1, 31, 9, 0, 0, 500000, tzinfo=UTC)),
        ("2026-01-31T09:00:00.123999Z", datetime(2026, 1, 31, 9, 0, 0, 123000, tzinfo=UTC)),
    ],
)
def test_instants_are_read_with_any_offset(text: str, expected: datetime) -> None:
    assert parse_instant(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-31",
        "2026-01-31T09:00:00",
        "20260131T090000Z",
        "2026-W05-6T09:00:00Z",
        "2026-01-31T09Z",
        "2026-01-31T09:00:00+24:00",
        "2026-01-31T09:00:00+12:60",
        "2026-01-31T09:00:00+00:00:01",
        "2026-01-31X09:00:00Z",
        "2026-02-30T09:00:00Z",
        "2026-01-31T09:00:60Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "٢٠٢٦-01-31T09:00:00Z",
        "2026-01-31T09:00:00Z\n",
    ],
)
def test_other_text_is_no_instant(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_instant(text)


@given(st.datetimes(datetime(1900, 1, 2), datetime(9998, 12, 30)), st.integers(-23 * 60 - 59, 23 * 60 + 59))  # noqa: DTZ001
def test_instants_come_back_in_utc_cut_to_milliseconds(local: datetime, minutes: int) -> None:
    sign = "-" if minutes < 0 else "+"
    text = f"{local.isoformat(timespec='microseconds')}{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    expected = local.replace(tzinfo=UTC) - timedelta(minutes=minutes)
    found = parse_instant(text)
    assert found.tzinfo is UTC
    assert found == expected.replace(microsecond=expected.microsecond // 1000 * 1000)


@given(st.datetimes(datetime(1, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_an_instant_survives_writing_and_reading(instant: datetime) -> None:
    assert parse_instant(rfc3339(instant)) == instant.replace(microsecond=instant.microsecond // 1000 * 1000)


@given(st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29), timezones=st.timezones()))  # noqa: DTZ001
def test_an_instant_is_shown_in_utc_with_milliseconds(instant: datetime) -> None:
    assert rfc3339(instant) == instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
