"""The rules of tasks, as functions."""

from datetime import UTC, date, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from duely.tasks.rules import (
    OPEN,
    Priority,
    Standing,
    Status,
    folded,
    next_standing,
    parse_due,
    parse_offset,
    placed,
    reminded_at,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(days=2)
ZONES = sorted(available_timezones() - {"localtime", "Factory", "posixrules"})


@pytest.mark.parametrize("spelling", ["pending", "PENDING", "Pending", "todo", "TODO", "ToDo"])
def test_pending_is_read_in_any_case_and_as_todo(spelling: str) -> None:
    assert Status(spelling) is Status.PENDING


@pytest.mark.parametrize("spelling", ["completed", "COMPLETED", "done", "Done"])
def test_completed_is_read_in_any_case_and_as_done(spelling: str) -> None:
    assert Status(spelling) is Status.COMPLETED


@pytest.mark.parametrize("value", ["", " pending", "finished", "low", None, 3, ["pending"]])
def test_what_is_no_status_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a valid Status"):
        Status(value)


@pytest.mark.parametrize("priority", list(Priority))
def test_priorities_are_read_in_any_case(priority: Priority) -> None:
    assert Priority(priority.value.upper()) is priority


@pytest.mark.parametrize("alias", ["todo", "done"])
def test_a_priority_has_no_aliases(alias: str) -> None:
    with pytest.raises(ValueError, match="is not a valid Priority"):
        Priority(alias)


def standing(status: Status, former: Status | None = None) -> Standing:
    return Standing(status, former, EARLIER if status is Status.COMPLETED else None)


PENDING, IN_PROGRESS, COMPLETED, CANCELLED, OVERDUE = Status


@pytest.mark.parametrize(
    "current, asked, late, moved, expected",
    [
        # Nothing about the status was asked.
        (standing(PENDING), None, False, False, standing(PENDING)),
        (standing(PENDING), None, True, True, standing(PENDING)),
        (standing(COMPLETED), None, True, True, standing(COMPLETED)),
        (standing(OVERDUE, IN_PROGRESS), None, True, False, standing(OVERDUE, IN_PROGRESS)),
        (standing(OVERDUE, IN_PROGRESS), None, True, True, standing(OVERDUE, IN_PROGRESS)),
        (standing(OVERDUE, IN_PROGRESS), None, False, False, standing(OVERDUE, IN_PROGRESS)),
        # The due date of an overdue task moved to the future, or away: back to what it was.
        (standing(OVERDUE, IN_PROGRESS), None, False, True, standing(IN_PROGRESS)),
        (standing(OVERDUE, PENDING), None, False, True, standing(PENDING)),
        (standing(OVERDUE), None, False, True, standing(PENDING)),
        (standing(OVERDUE, IN_PROGRESS), OVERDUE, False, True, standing(IN_PROGRESS)),
        (standing(OVERDUE, IN_PROGRESS), PENDING, False, True, standing(PENDING)),
        # Overdue and still late: what is asked is remembered.
        (standing(OVERDUE, PENDING), IN_PROGRESS, True, False, standing(OVERDUE, IN_PROGRESS)),
        (standing(OVERDUE, PENDING), IN_PROGRESS, True, True, standing(OVERDUE, IN_PROGRESS)),
        (standing(OVERDUE, IN_PROGRESS), OVERDUE, True, False, standing(OVERDUE, IN_PROGRESS)),
        # Overdue no more, such as after a change of time zone: what is asked holds.
        (standing(OVERDUE, PENDING), IN_PROGRESS, False, False, standing(IN_PROGRESS)),
        (standing(OVERDUE, IN_PROGRESS), OVERDUE, False, False, standing(OVERDUE, IN_PROGRESS)),
        # Finished and given up, from anywhere.
        (standing(PENDING), COMPLETED, True, False, Standing(COMPLETED, None, NOW)),
        (standing(OVERDUE, PENDING), COMPLETED, True, True, Standing(COMPLETED, None, NOW)),
        (standing(COMPLETED), COMPLETED, False, False, standing(COMPLETED)),
        (standing(COMPLETED), CANCELLED, False, False, standing(CANCELLED)),
        (standing(OVERDUE, PENDING), CANCELLED, True, False, standing(CANCELLED)),
        # And open again.
        (standing(COMPLETED), PENDING, False, False, standing(PENDING)),
        (standing(COMPLETED), IN_PROGRESS, True, False, standing(IN_PROGRESS)),
        (standing(CANCELLED), PENDING, False, True, standing(PENDING)),
        (standing(PENDING), IN_PROGRESS, False, False, standing(IN_PROGRESS)),
    ],
)
def test_an_edit_leads_to_the_next_standing(
    current: Standing, asked: Status | None, late: bool, moved: bool, expected: Standing
) -> None:
    assert next_standing(current, asked=asked, late=late, due_moved=moved, now=NOW) == expected


standings = st.one_of(
    st.sampled_from([standing(status) for status in Status]),
    st.sampled_from([standing(OVERDUE, former) for former in OPEN]),
)
edits = st.fixed_dictionaries(
    {
        "asked": st.none() | st.sampled_from(Status),
        "late": st.booleans(),
        "due_moved": st.booleans(),
        "now": st.just(NOW),
    }
)


@given(standings, edits)
def test_only_completed_tasks_have_a_completion_and_only_overdue_ones_a_former_status(
    current: Standing, edit: dict[str, object]
) -> None:
    after = next_standing(current, **edit)
    assert (after.completed_at is not None) == (after.status is COMPLETED)
    assert after.former in ((None, *OPEN) if after.status is OVERDUE else (None,))


@given(standings, edits)
def test_the_same_edit_again_changes_nothing(current: Standing, edit: dict[str, object]) -> None:
    if edit["asked"] is not OVERDUE:
        once = next_standing(current, **edit)
        assert next_standing(once, **{**edit, "now": NOW + timedelta(hours=1)}) == once


@given(standings, edits)
def test_no_edit_makes_a_task_overdue(current: Standing, edit: dict[str, object]) -> None:
    if current.status is not OVERDUE and edit["asked"] is not OVERDUE:
        assert next_standing(current, **edit).status is not OVERDUE


@pytest.mark.slow
@given(standings, edits)
def test_a_task_stays_overdue_while_it_is_late_and_open(current: Standing, edit: dict[str, object]) -> None:
    if current.status is OVERDUE and edit["late"] and edit["asked"] not in (COMPLETED, CANCELLED):
        assert next_standing(current, **edit).status is OVERDUE


@given(standings, st.sampled_from([PENDING, IN_PROGRESS, COMPLETED, CANCELLED]), st.booleans())
def test_what_is_asked_holds_when_the_task_is_not_late(current: Standing, asked: Status, moved: bool) -> None:
    assert next_standing(current, asked=asked, late=False, due_moved=moved, now=NOW).status is asked


def test_a_whole_day_ends_with_the_day_in_its_zone() -> None:
    assert placed(date(2026, 1, 31), "Europe/Berlin") == datetime(2026, 1, 31, 22, 59, 59, 999000, tzinfo=UTC)
    assert placed(date(2026, 7, 31), "Europe/Berlin") == datetime(2026, 7, 31, 21, 59, 59, 999000, tzinfo=UTC)
    assert placed(date(2026, 1, 31), "Pacific/Kiritimati") == datetime(2026, 1, 31, 9, 59, 59, 999000, tzinfo=UTC)
    assert placed(date(2026, 1, 31), "Etc/GMT+12") == datetime(2026, 2, 1, 11, 59, 59, 999000, tzinfo=UTC)


@pytest.mark.parametrize(
    "zone, day, hours",
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("America/Sao_Paulo", date(2018, 11, 4), 23),  # clocks went forward at midnight: the day began at 01:00
        ("America/Sao_Paulo", date(2018, 2, 17), 25),  # clocks went back at midnight
        ("America/Havana", date(2026, 11, 1), 25),  # 00:00 to 00:59 came twice
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("Pacific/Apia", date(2011, 12, 29), 24),
        ("Pacific/Apia", date(2011, 12, 30), 0),  # never was
        ("Pacific/Apia", date(2011, 12, 31), 24),
    ],
)
def test_days_are_as_long_as_they_are_in_that_place(zone: str, day: date, hours: float) -> None:
    length = placed(day, zone) - placed(day - timedelta(days=1), zone)
    assert length == timedelta(hours=hours)


@given(st.dates(date(1900, 1, 1), date(9998, 12, 31)), st.sampled_from(ZONES))
@example(date(2011, 12, 30), "Pacific/Apia")
@example(date(1969, 9, 30), "Pacific/Kwajalein")
@example(date(9998, 12, 31), "Etc/GMT+12")
@example(date(9998, 12, 31), "Etc/GMT-14")
def test_a_whole_day_is_placed_on_its_last_millisecond(day: date, zone: str) -> None:
    end = placed(day, zone)
    assert (end + timedelta(milliseconds=1)).astimezone(ZoneInfo(zone)).date() > day
    last = end.astimezone(ZoneInfo(zone)).date()
    skipped = (zone, day) in {("Pacific/Apia", date(2011, 12, 30)), ("MIT", date(2011, 12, 30))}
    assert last == day or skipped or last < day <= last + timedelta(days=1)
    assert end >= placed(day - timedelta(days=1), zone)


def test_an_instant_is_placed_where_it_is_in_every_zone() -> None:
    assert placed(NOW, "Pacific/Apia") == NOW


@pytest.mark.parametrize(
    "text, expected",
    [
        ("2026-01-31", date(2026, 1, 31)),
        ("2024-02-29", date(2024, 2, 29)),
        ("1900-01-01", date(1900, 1, 1)),
        ("9998-12-31", date(9998, 12, 31)),
        ("2026-01-31T09:00:00Z", datetime(2026, 1, 31, 9, tzinfo=UTC)),
        ("2026-01-31T09:00:00+02:00", datetime(2026, 1, 31, 7, tzinfo=UTC)),
        ("2026-01-31t09:00:00.5z", datetime(2026, 1, 31, 9, 0, 0, 500000, tzinfo=UTC)),
        ("2026-01-31 09:00-23:59", datetime(2026, 2, 1, 8, 59, tzinfo=UTC)),
        ("2026-01-31T09:00:00.123999Z", datetime(2026, 1, 31, 9, 0, 0, 123000, tzinfo=UTC)),
        ("2026-01-31T09:00:00.123456789Z", datetime(2026, 1, 31, 9, 0, 0, 123000, tzinfo=UTC)),
    ],
)
def test_due_dates_are_days_or_instants(text: str, expected: date) -> None:
    assert parse_due(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026",
        "2026-01",
        "20260131",
        "2026-1-31",
        "2026-02-30",
        "2025-02-29",
        "2026-13-01",
        "2026-W05-1",
        "2026W051",
        "2026-031",
        "31.01.2026",
        "2026/01/31",
        " 2026-01-31",
        "2026-01-31 ",
        "2026-01-31\n",
        "２０２６-01-31",
        "٢٠٢٦-01-31",
        "2026-01-31T09:00:00",
        "2026-01-31T09:00:00Europe/Berlin",
        "2026-01-31T09Z",
        "2026-01-31T24:00:01Z",
        "2026-01-31T09:60:00Z",
        "2026-01-31T09:00:61Z",
        "2026-01-31T09:00:00+24:00",
        "2026-01-31T09:00:00+12:60",
        "2026-01-31T09:00:00+0200",
        "2026-01-31T09:00:00+02",
        "2026-01-31T09:00:00.Z",
        "2026-01-31T09:00:00,5Z",
        "2026-01-31T09:00:00Z\n",
        "2026-01-31T09:00:00-00:00:01",
        "0000-01-01",
        "0001-01-01",
        "1899-12-31",
        "9999-01-01",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "1899-12-31T23:59:59Z",
        "1900-01-01T00:00:00+00:01",
        "9999-01-01T00:00:00Z",
    ],
)
def test_other_text_is_no_due_date(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_due(text)


@given(st.text())
def test_any_text_is_a_due_date_or_refused(text: str) -> None:
    try:
        due = parse_due(text)
    except ValueError:
        return
    assert 1900 <= due.year <= 9998
    assert not isinstance(due, datetime) or due.tzinfo is UTC


@pytest.mark.parametrize(
    "text, expected",
    [
        ("-PT30M", timedelta(minutes=30)),
        ("-pt30m", timedelta(minutes=30)),
        ("-PT1H30M", timedelta(hours=1, minutes=30)),
        ("-P1D", timedelta(days=1)),
        ("-P1DT2H", timedelta(days=1, hours=2)),
        ("-P2W", timedelta(weeks=2)),
        ("-PT0M", timedelta(0)),
        ("-P366D", timedelta(days=366)),
        ("-PT8784H", timedelta(days=366)),
    ],
)
def test_offsets_are_durations_before_the_due_date(text: str, expected: timedelta) -> None:
    assert parse_offset(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "-P",
        "-PT",
        "-P1DT",
        "PT30M",
        "+PT30M",
        "--PT30M",
        "-PT30",
        "-PT30S",
        "-P1M",
        "-P1Y",
        "-P1W1D",
        "-PT30M1H",
        "-PT1.5H",
        "-PT-30M",
        "-P 1D",
        "-PT30M\n",
        "-PT٣M",
        "-P367D",
        "-P366DT1M",
        "-PT999999H",
        "-P99999999999999999999D",
    ],
)
def test_other_text_is_no_offset(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_offset(text)


@pytest.mark.parametrize(
    "one, other", [("Home", "hOME"), ("Ärger", "ÄRGER"), ("straße", "STRASSE"), ("ΣΊΣΥΦΟΣ", "σίσυφος"), ("ﬁx", "FIX")]
)
def test_names_that_differ_by_case_alone_fold_to_the_same(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize("one, other", [("Home", "Homes"), ("Arger", "Ärger"), ("a b", "ab")])
def test_other_names_stay_apart(one: str, other: str) -> None:
    assert folded(one) != folded(other)


@given(st.text())
def test_folding_is_done_in_one_go(name: str) -> None:
    assert folded(folded(name)) == folded(name)


def test_every_combination_of_status_and_edit_has_an_answer() -> None:
    for current, asked, late, moved in product(Status, [None, *Status], [False, True], [False, True]):
        after = next_standing(standing(current), asked=asked, late=late, due_moved=moved, now=NOW)
        assert isinstance(after.status, Status)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    "text, due, zone, expected",
    [
        ("2026-01-31T08:00:00.000Z", None, "UTC", "2026-01-31T08:00:00+00:00"),
        ("2026-01-31T08:00:00.000Z", "2026-01-01T00:00:00Z", "Asia/Tokyo", "2026-01-31T08:00:00+00:00"),
        ("-PT30M", None, "UTC", None),
        ("-P1D", None, "UTC", None),
        ("-PT0M", "2026-01-31T08:00:00Z", "UTC", "2026-01-31T08:00:00+00:00"),
        ("-PT30M", "2026-01-31T08:00:00.123Z", "UTC", "2026-01-31T07:30:00.123+00:00"),
        # The clocks in Berlin went forward on 29 March 2026 at 02:00, and back on 25 October at 03:00.
        ("-P1D", "2026-03-29T09:00:00+02:00", "Europe/Berlin", "2026-03-28T09:00:00+01:00"),
        ("-PT24H", "2026-03-29T09:00:00+02:00", "Europe/Berlin", "2026-03-28T08:00:00+01:00"),
        ("-P1W", "2026-04-01T09:00:00+02:00", "Europe/Berlin", "2026-03-25T09:00:00+01:00"),
        ("-P1D", "2026-10-25T09:00:00+01:00", "Europe/Berlin", "2026-10-24T09:00:00+02:00"),
        ("-PT24H", "2026-10-25T09:00:00+01:00", "Europe/Berlin", "2026-10-24T10:00:00+02:00"),
        # Days first, then the exact time.
        ("-P1DT1H", "2026-03-30T03:30:00+02:00", "Europe/Berlin", "2026-03-29T01:30:00+01:00"),
        # 02:30 did not exist on the 29th, and was there twice on the 25th.
        ("-P1D", "2026-03-30T02:30:00+02:00", "Europe/Berlin", "2026-03-29T03:30:00+02:00"),
        ("-P1D", "2026-10-26T02:30:00+01:00", "Europe/Berlin", "2026-10-25T02:30:00+02:00"),
        # Due at the second 02:30: half an hour before is exact, a day before is by the calendar.
        ("-PT30M", "2026-10-25T02:30:00+01:00", "Europe/Berlin", "2026-10-25T02:00:00+01:00"),
        ("-P0DT30M", "2026-10-25T02:30:00+01:00", "Europe/Berlin", "2026-10-25T02:00:00+01:00"),
        ("-P1D", "2026-10-25T02:30:00+01:00", "Europe/Berlin", "2026-10-24T02:30:00+02:00"),
        # The day in the owner's zone, not that of the instant.
        ("-P1D", "2026-03-29T09:00:00+02:00", "UTC", "2026-03-28T07:00:00+00:00"),
        # Apia had no 30 December 2011.
        ("-P1D", "2011-12-31T09:00:00+14:00", "Pacific/Apia", "2011-12-31T09:00:00+14:00"),
        ("-P2D", "2011-12-31T09:00:00+14:00", "Pacific/Apia", "2011-12-29T09:00:00-10:00"),
        ("-P366D", "1901-01-02T00:00:00Z", "UTC", "1900-01-01T00:00:00Z"),
    ],
)
def test_a_reminder_has_its_instant(text: str, due: str | None, zone: str, expected: str | None) -> None:
    found = reminded_at(text, utc(due) if due else None, zone)
    assert found == (utc(expected) if expected else None)
    assert found is None or found.tzinfo is UTC


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Pacific/Kiritimati", "America/Sao_Paulo"])
def test_a_day_before_a_whole_day_is_the_end_of_the_day_before(zone: str) -> None:
    for day in (date(2026, 3, 29), date(2026, 10, 25), date(2018, 11, 5), date(2018, 2, 19)):
        assert reminded_at("-P1D", placed(day, zone), zone) == placed(day - timedelta(days=1), zone)


@pytest.mark.parametrize("text", ["", "soon", "-", "-P", "PT30M", "-PT1S"])
def test_what_is_no_reminder_has_no_instant(text: str) -> None:
    with pytest.raises(ValueError, match="^" + text):
        reminded_at(text, NOW, "UTC")


offsets = st.fixed_dictionaries(
    {"days": st.integers(0, 366), "hours": st.integers(0, 99), "minutes": st.integers(0, 999)}
)
dues = st.integers(0, 67 * 365 * 24 * 60).map(
    lambda minutes: datetime(1970, 1, 2, tzinfo=UTC) + timedelta(minutes=minutes)
)


@given(offsets, dues, st.sampled_from(ZONES))
@example({"days": 1, "hours": 0, "minutes": 0}, datetime(2026, 3, 30, 0, 30, tzinfo=UTC), "Europe/Berlin")
@example({"days": 1, "hours": 0, "minutes": 0}, datetime(2026, 10, 26, 1, 30, tzinfo=UTC), "Europe/Berlin")
@example({"days": 0, "hours": 0, "minutes": 1}, datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "Europe/Berlin")
@example({"days": 1, "hours": 0, "minutes": 0}, datetime(2011, 12, 30, 19, tzinfo=UTC), "Pacific/Apia")
def test_days_are_those_of_the_calendar_and_the_rest_is_exact(parts: dict[str, int], due: datetime, zone: str) -> None:
    text = f"-P{parts['days']}DT{parts['hours']}H{parts['minutes']}M"
    rest = timedelta(hours=parts["hours"], minutes=parts["minutes"])
    found = reminded_at(text, due, zone)
    assert found is not None
    assert found <= due - rest
    owner = ZoneInfo(zone)
    wall = due.astimezone(owner).replace(tzinfo=None, fold=0) - timedelta(days=parts["days"])
    shown = (found + rest).astimezone(owner).replace(tzinfo=None, fold=0)
    both = {wall.replace(tzinfo=owner, fold=fold).utcoffset() for fold in (0, 1)}
    if not parts["days"]:
        assert found == due - rest
    elif len(both) == 1:
        assert shown == wall
    else:
        # Skipped by the clocks: as much later as they skipped. Shown twice: the first of the two.
        earlier, later = sorted(offset for offset in both if offset is not None)
        skipped = wall.replace(tzinfo=owner).utcoffset() == earlier
        assert shown == wall + (later - earlier if skipped else timedelta())
        assert (found + rest).astimezone(owner).fold == 0


@given(st.dates(date(1971, 1, 1), date(2037, 12, 31)), st.sampled_from(ZONES), st.integers(0, 100))
def test_a_reminder_of_a_whole_day_is_never_after_its_end(day: date, zone: str, days: int) -> None:
    end = placed(day, zone)
    found = reminded_at(f"-P{days}D", end, zone)
    assert found is not None
    assert found <= end
    assert (end - found) <= timedelta(days=days + 1, hours=1)
