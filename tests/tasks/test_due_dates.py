"""Due dates over HTTP: whole days and instants on one time line."""

from typing import Any
from urllib.parse import quote

import pytest

from cast import Api, adam, alice, faults, log_of, person
from duely.tasks.models import Task

pytestmark = pytest.mark.django_db


def made(api: Api, due: str | None, **fields: Any) -> dict[str, Any]:
    response = api.post("tasks/", {"title": str(due), "due_date": due, **fields})
    assert response.status_code == 201, response.content
    return response.json()


def titles(api: Api, query: str) -> list[str]:
    response = api.get(f"tasks/?{query}")
    assert response.status_code == 200, response.content
    return [item["title"] for item in response.json()["data"]]


def by_due_date(api: Api) -> list[str]:
    return titles(api, "ordering=due_date")


@pytest.mark.parametrize(
    "given, answered",
    [
        ("2026-01-31", "2026-01-31"),
        ("2024-02-29", "2024-02-29"),
        ("1900-01-01", "1900-01-01"),
        ("9998-12-31", "9998-12-31"),
        ("2026-01-31T09:00:00Z", "2026-01-31T09:00:00.000Z"),
        ("2026-01-31T09:00:00.123Z", "2026-01-31T09:00:00.123Z"),
        ("2026-01-31T09:00:00+05:30", "2026-01-31T03:30:00.000Z"),
        ("2026-01-31T00:00:00Z", "2026-01-31T00:00:00.000Z"),
        ("1900-01-01T00:00:00Z", "1900-01-01T00:00:00.000Z"),
        ("9998-12-31T23:59:59.999Z", "9998-12-31T23:59:59.999Z"),
        (None, None),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Etc/GMT+12"])
def test_a_due_date_is_answered_in_the_form_it_was_given(zone: str, given: str | None, answered: str | None) -> None:
    me = Api(person("alice", time_zone=zone))
    task = made(me, given)
    assert task["due_date"] == answered
    assert me.get(f"tasks/{task['id']}/").json()["due_date"] == answered
    assert me.get("tasks/").json()["data"][0]["due_date"] == answered


@pytest.mark.parametrize("due", ["2026-01-31T09:00:00", "2026-W05-6", "today", 0])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_other_due_dates_are_refused(method: str, due: Any) -> None:
    me = Api(alice())
    path = "tasks/" if method == "POST" else f"tasks/{made(me, None)['id']}/"
    response = me.call(method, path, {"title": "x", "due_date": due})
    assert response.status_code == 400
    assert faults(response) == {"due_date": "invalid_date"}


@pytest.mark.parametrize(
    "due",
    [
        *("1899-12-31", "9999-12-31", "9999-01-01", "0000-00-00", "10000-01-01", "+010000-01-01T00:00:00.000Z"),
        *("9999-12-31T23:59:59Z", "0001-01-01T00:00:00+01:00"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_refusal_of_a_far_year_names_the_range(method: str, due: str) -> None:
    me = Api(alice())
    path = "tasks/" if method == "POST" else f"tasks/{made(me, None)['id']}/"
    response = me.call(method, path, {"title": "x", "due_date": due})
    assert response.status_code == 400
    assert response.json()["errors"] == [
        {"field": "due_date", "code": "out_of_range", "message": "Use a year from 1900 to 9998."}
    ]


@pytest.mark.parametrize(
    "query", ["due_date__lte=9999-12-31", "due_date__gte=0001-01-01", "due_date__lt=9999-12-31T23:59:59.999Z"]
)
def test_filters_take_dates_that_stand_for_ever(query: str) -> None:
    me = Api(alice())
    task = made(me, "9998-12-31T23:59:59Z")
    assert [item["id"] for item in me.get(f"tasks/?{query}").json()["data"]] == [task["id"]]


@pytest.mark.parametrize(
    "before, after",
    [
        ("2026-01-31", "2026-01-31T22:59:59.999Z"),  # the very same place on the time line
        ("2026-01-31T22:59:59.999Z", "2026-01-31"),
        ("2026-01-31", None),
        (None, "2026-01-31"),
        ("2026-01-31", "2026-02-01"),
    ],
)
def test_a_due_date_can_change_its_form(before: str | None, after: str | None) -> None:
    me = Api(person("alice", time_zone="Europe/Berlin"))
    task = made(me, before)
    changed = me.patch(f"tasks/{task['id']}/", {"due_date": after}).json()
    assert (changed["due_date"], changed["version"]) == (after, 2)
    assert log_of(me.user)[-1] == ("task.updated", {"due_date": [before, after]})


@pytest.mark.parametrize("same", ["2026-01-31T09:00:00Z", "2026-01-31T10:00:00+01:00", "2026-01-31T09:00:00.0009Z"])
def test_the_same_instant_in_another_spelling_is_no_change(same: str) -> None:
    me = Api(alice())
    task = made(me, "2026-01-31T09:00:00.000Z")
    assert me.patch(f"tasks/{task['id']}/", {"due_date": same}).json() == task


def test_days_and_instants_stand_on_one_time_line() -> None:
    me = Api(person("alice", time_zone="Europe/Berlin"))
    # Berlin's 29 March 2026 lasts from 28 March 23:00Z to 29 March 22:00Z: the clocks went forward.
    line = [
        "2026-03-28T22:59:59.999Z",
        "2026-03-28T23:00:00.000Z",
        "2026-03-29T21:59:59.998Z",
        "2026-03-29",
        "2026-03-29T22:00:00.000Z",
        "2026-03-30",
        "2026-03-30T22:00:00.000Z",
    ]
    for due in reversed(line):
        made(me, due)
    made(me, None)
    assert by_due_date(me) == [*line, "None"]
    assert titles(me, "ordering=-due_date") == [*reversed(line), "None"]
    for query, expected in [
        ("due_date=2026-03-29", line[1:4]),
        ("due_date__gte=2026-03-29", line[1:]),
        ("due_date__gt=2026-03-29", line[4:]),
        ("due_date__lte=2026-03-29", line[:4]),
        ("due_date__lt=2026-03-29", line[:1]),
        ("due_date__gt=2026-03-28T23:00:00Z", line[2:]),
        ("due_date__gte=2026-03-28T23:00:00Z", line[1:]),
        ("due_date__gte=" + quote("2026-03-29T00:00:00+01:00"), line[1:]),
        ("due_date__lt=2026-03-29T22:00:00Z", line[:4]),
        ("due_date__lte=2026-03-29T22:00:00Z", line[:5]),
        ("due_date=2026-03-29T22:00:00Z", line[4:5]),
        ("due_date__isnull=true", ["None"]),
        ("due_date__isnull=false", line),
        ("due_date__gte=2026-03-29&due_date__lt=2026-03-30", line[1:4]),
    ]:
        assert titles(me, f"ordering=due_date&{query}") == expected, query


@pytest.mark.parametrize(
    "zone, day, begins, ends",
    [
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00.000Z", "2018-11-05T02:00:00.000Z"),
        ("America/Sao_Paulo", "2018-02-17", "2018-02-17T02:00:00.000Z", "2018-02-18T03:00:00.000Z"),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00.000Z", "2026-10-25T23:00:00.000Z"),
        ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00:00.000Z", "2011-12-30T10:00:00.000Z"),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00.000Z", "2011-12-31T10:00:00.000Z"),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00:00.000Z", "2026-04-05T13:30:00.000Z"),
        ("Asia/Kathmandu", "2026-01-01", "2025-12-31T18:15:00.000Z", "2026-01-01T18:15:00.000Z"),
    ],
)
def test_a_day_is_as_long_as_it_is_in_its_owners_zone(zone: str, day: str, begins: str, ends: str) -> None:
    me = Api(person("alice", time_zone=zone))
    made(me, ends)
    made(me, day)
    made(me, begins)
    assert by_due_date(me) == [begins, day, ends]
    assert titles(me, f"ordering=due_date&due_date={day}") == [begins, day]


def test_a_day_that_never_was_ends_when_the_day_before_it_does() -> None:
    me = Api(person("alice", time_zone="Pacific/Apia"))
    made(me, "2011-12-30T10:00:00Z")
    made(me, "2011-12-30")
    assert by_due_date(me) == ["2011-12-30", "2011-12-30T10:00:00Z"]


def test_a_new_time_zone_moves_whole_days_and_leaves_instants() -> None:
    me = Api(alice())
    made(me, "2026-01-31")
    made(me, "2026-01-31T20:00:00Z")
    made(me, "2026-02-01")
    before = me.get("tasks/").json()["data"]
    assert by_due_date(me) == ["2026-01-31T20:00:00Z", "2026-01-31", "2026-02-01"]
    assert me.patch("profile/", {"time_zone": "Pacific/Kiritimati"}).status_code == 200
    assert by_due_date(me) == ["2026-01-31", "2026-01-31T20:00:00Z", "2026-02-01"]
    assert me.get("tasks/").json()["data"] == before
    assert me.patch("profile/", {"time_zone": "UTC"}).status_code == 200
    assert by_due_date(me) == ["2026-01-31T20:00:00Z", "2026-01-31", "2026-02-01"]
    assert [action for action, _ in log_of(me.user)][-2:] == ["user.profile_updated"] * 2


def test_a_new_time_zone_moves_the_days_in_the_trash_too() -> None:
    me = Api(alice())
    task = made(me, "2026-01-31")
    me.delete(f"tasks/{task['id']}/")
    me.patch("profile/", {"time_zone": "Europe/Berlin"})
    assert Task.objects.get(pk=task["id"]).due_at.isoformat() == "2026-01-31T22:59:59.999000+00:00"


def test_a_new_time_zone_moves_nobody_elses_days() -> None:
    me, other = Api(alice()), Api(person("bob", time_zone="Europe/Berlin"))
    made(other, "2026-01-31")
    made(other, "2026-01-31T22:59:59.999Z")
    me.patch("profile/", {"time_zone": "Pacific/Kiritimati"})
    assert titles(other, "due_date=2026-01-31T22:59:59.999Z&ordering=title") == [
        "2026-01-31",
        "2026-01-31T22:59:59.999Z",
    ]


def test_another_change_of_the_profile_moves_nothing() -> None:
    me = Api(person("alice", time_zone="Europe/Berlin"))
    task = made(me, "2026-01-31")
    placed = Task.objects.get(pk=task["id"]).due_at
    me.patch("profile/", {"bio": "x", "time_zone": "Europe/Berlin"})
    assert Task.objects.get(pk=task["id"]).due_at == placed


def test_a_whole_day_is_that_of_the_owner_whoever_sets_it() -> None:
    me = Api(person("alice", time_zone="Pacific/Kiritimati"))
    boss = Api(adam())
    task = made(boss, "2026-01-31", owner=str(me.user.id))
    assert titles(me, "due_date=2026-01-31T09:59:59.999Z") == ["2026-01-31"]
    boss.patch(f"tasks/{task['id']}/", {"due_date": "2026-02-01"})
    assert titles(me, "due_date=2026-02-01T09:59:59.999Z") == ["2026-01-31"]


def test_a_day_in_a_query_is_that_of_the_caller() -> None:
    boss = Api(person("adam", role="admin", time_zone="Etc/GMT+12"))
    me = Api(person("alice", time_zone="Etc/GMT+12"))
    other = Api(person("bob", time_zone="Pacific/Kiritimati"))
    made(me, "2026-01-31")
    made(other, "2026-01-31")
    assert titles(boss, "due_date=2026-01-31") == ["2026-01-31"]
    assert titles(me, "due_date=2026-01-31") == ["2026-01-31"]
    assert titles(other, "due_date=2026-01-31") == ["2026-01-31"]
    assert len(titles(boss, "due_date__gte=2026-01-30&due_date__lte=2026-01-31")) == 2
