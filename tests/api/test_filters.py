"""How values of query parameters are read."""

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duely.api.bodies import Invalid
from duely.api.filters import MAX_CHOICES, Filter, boolean, choice, identifier, integer, span, text
from duely.core.actor import Actor, Origin


def someone(zone: str = "UTC") -> Actor:
    return Actor(id=UUID(int=1), name="alice", role="member", session_id=None, zone=zone, origin=Origin())


@pytest.mark.parametrize("raw", ["true", "TRUE", "True", "1"])
def test_true_is_read_in_any_case(raw: str) -> None:
    assert boolean(raw, someone()) is True


@pytest.mark.parametrize("raw", ["false", "FALSE", "0"])
def test_false_is_read_in_any_case(raw: str) -> None:
    assert boolean(raw, someone()) is False


@pytest.mark.parametrize("raw", ["", "yes", "2", "01", " true", "null"])
def test_other_text_is_neither_true_nor_false(raw: str) -> None:
    with pytest.raises(Invalid):
        boolean(raw, someone())


def test_ids_are_read_in_either_case() -> None:
    assert identifier("0198C3A0-0000-7000-8000-00000000000A", someone()) == UUID("0198c3a0-0000-7000-8000-00000000000a")


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "1",
        "0198c3a000007000800000000000000a",
        "{0198c3a0-0000-7000-8000-00000000000a}",
        "0198c3a0-0000-7000-8000-00000000000g",
        "urn:uuid:0198c3a0-0000-7000-8000-0000",
        "0198c3a0000070008000000000000000aaaa",
    ],
)
def test_other_text_is_no_id(raw: str) -> None:
    with pytest.raises(Invalid):
        identifier(raw, someone())


@pytest.mark.parametrize("raw, value", [("0", 0), ("7", 7), ("007", 7), ("9" * 18, 10**18 - 1)])
def test_whole_numbers_are_read(raw: str, value: int) -> None:
    assert integer(raw, someone()) == value


@pytest.mark.parametrize(
    "raw", ["", "-1", "+1", "1.0", "1e3", "0x10", "１", "٣", "²", " 1", "1_000", "9" * 19, "1" * 5000]
)
def test_other_text_is_no_whole_number(raw: str) -> None:
    with pytest.raises(Invalid):
        integer(raw, someone())


@pytest.mark.parametrize(
    "raw", ["a", "x" * 255, "Ärger", "日本語", "a b", "👨‍👩‍👧", "買い物　リスト", "a\u00a0b", "שלום\u200f"]
)
def test_text_is_not_changed(raw: str) -> None:
    assert text(raw, someone()) == raw


@pytest.mark.parametrize("raw", ["", "x" * 256, "a\x00", "a\n", "\x1f", "\ud800"])
def test_text_without_substance_or_with_control_characters_is_refused(raw: str) -> None:
    with pytest.raises(Invalid):
        text(raw, someone())


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


def test_a_wrong_choice_names_the_right_ones() -> None:
    assert choice(Colour)("red", someone()) is Colour.RED
    with pytest.raises(Invalid, match=r"Use one of: red, blue\."):
        choice(Colour)("green", someone())


@pytest.mark.parametrize(
    "raw",
    [
        "2026-01-31T09:00:00Z",
        "2026-01-31T10:00:00+01:00",
        "2026-01-31T10:00:00 01:00",  # a plus that was not percent-encoded
        "2026-01-31 08:00:00-01:00",
        "2026-01-31t09:00z",
        "2026-01-31T09:00:00.000999Z",
    ],
)
def test_an_instant_covers_its_millisecond_in_every_zone(raw: str) -> None:
    nine = datetime(2026, 1, 31, 9, tzinfo=UTC)
    for zone in ("UTC", "Pacific/Apia"):
        found = span(raw, someone(zone))
        assert (found.start, found.end) == (nine, nine + timedelta(milliseconds=1))


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "now",
        "2026-01",
        "2026-02-30",
        "2026-W05-6",
        "31-01-2026",
        "2026-1-031",
        "2026-01-31T09:00:00",
        "20260131T090000Z",
        "2026-W05-6T09:00:00Z",
        "2026-01-31T09Z",
        "2026-01-31T09:00:00+25:00",
        "1e400",
    ],
)
def test_other_text_is_neither_a_day_nor_an_instant(raw: str) -> None:
    with pytest.raises(Invalid):
        span(raw, someone())


@pytest.mark.parametrize(
    "raw",
    [
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "0000-01-01",
        "10000-01-01",
        "+010000-01-01T00:00:00.000Z",
        "-000001-01-01",
        "-0001-01-01",
    ],
)
def test_a_refusal_of_a_far_year_names_the_range(raw: str) -> None:
    with pytest.raises(Invalid, match=r"Use a year from 1 to 9999\.") as refused:
        span(raw, someone())
    assert refused.value.code == "out_of_range"


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Etc/GMT+12", "Europe/Berlin"])
@pytest.mark.parametrize("raw", ["9999-12-31", "0001-01-01", "9999-12-31T23:59:59.999999Z"])
def test_the_first_and_the_last_day_are_days(raw: str, zone: str) -> None:
    found = span(raw, someone(zone))
    assert found.start < found.end


def test_a_day_is_that_of_the_caller() -> None:
    day = span("2026-03-29", someone("Europe/Berlin"))
    assert (day.start, day.end) == (datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 22, tzinfo=UTC))
    there = span("2026-03-29", someone("Pacific/Apia"))
    assert there.start == datetime(2026, 3, 28, 11, tzinfo=UTC)


@given(st.text())
def test_any_text_is_a_day_an_instant_or_refused(raw: str) -> None:
    try:
        found = span(raw, someone("Pacific/Apia"))
    except Invalid:
        return
    assert found.start < found.end


@given(st.dates(date(1, 1, 1), date(9999, 12, 30)))
def test_days_follow_each_other_without_a_gap(day: date) -> None:
    here = someone("America/Sao_Paulo")
    assert span(day.isoformat(), here).end == span((day + timedelta(days=1)).isoformat(), here).start


def test_a_filter_takes_fifty_values_at_most() -> None:
    numbers = Filter("seq", "seq", integer, {"type": "integer"})
    assert numbers.condition("", ",".join("1" * MAX_CHOICES), someone())
    with pytest.raises(Invalid, match="at most 50"):
        numbers.condition("", ",".join("1" * (MAX_CHOICES + 1)), someone())
