"""The rows behind a task's reminders: when each is due, and whether it has passed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cast import Api, alice, bob, log_of, person
from duely.core.clock import now, rfc3339
from duely.core.ids import new_id
from duely.tasks.actions import mark_overdue, pass_reminders
from duely.tasks.models import Reminder, Task
from duely.tasks.queries import due_reminders

pytestmark = pytest.mark.django_db

DUE = "2099-03-29T09:00:00.000Z"


def made(api: Api, **fields: Any) -> str:
    """The path of a new task."""
    response = api.post("tasks/", {"title": "Milk", **fields})
    assert response.status_code == 201, response.content
    return f"tasks/{response.json()['id']}/"


def times() -> dict[str, str]:
    """{text: instant} of every reminder, `passed` behind those that have."""
    rows = Reminder.objects.order_by("text")
    return {row.text: rfc3339(row.remind_at) + (" passed" if row.passed_at else "") for row in rows}


def changed(api: Api, path: str, **fields: Any) -> dict[str, str]:
    response = api.patch(path, fields)
    assert response.status_code == 200, response.content
    return times()


def test_each_reminder_has_its_row() -> None:
    me = Api(alice())
    made(me, due_date=DUE, reminders=["-PT30M", "-P1D", "2098-12-31T00:00:00Z"])
    assert times() == {
        "-P1D": "2099-03-28T09:00:00.000Z",
        "-PT30M": "2099-03-29T08:30:00.000Z",
        "2098-12-31T00:00:00.000Z": "2098-12-31T00:00:00.000Z",
    }
    row = Reminder.objects.order_by("text")[0]
    assert (row.owner_id, row.task_id, row.id.version) == (me.user.id, Task.objects.get().id, 7)
    assert str(row) == "-P1D"


def test_an_offset_without_a_due_date_waits_for_one() -> None:
    me = Api(alice())
    path = made(me, reminders=["-PT30M", "2098-12-31T00:00:00Z"])
    assert list(times()) == ["2098-12-31T00:00:00.000Z"]
    assert changed(me, path, due_date=DUE)["-PT30M"] == "2099-03-29T08:30:00.000Z"
    assert list(changed(me, path, due_date=None)) == ["2098-12-31T00:00:00.000Z"]


def test_reminders_move_with_the_due_date() -> None:
    me = Api(alice())
    path = made(me, due_date=DUE, reminders=["-PT30M", "2098-12-31T00:00:00Z"])
    assert changed(me, path, due_date="2099-04-01T12:00:00Z") == {
        "-PT30M": "2099-04-01T11:30:00.000Z",
        "2098-12-31T00:00:00.000Z": "2098-12-31T00:00:00.000Z",
    }
    assert changed(me, path, due_date="2099-04-01")["-PT30M"] == "2099-04-01T23:29:59.999Z"


def test_reminders_come_and_go_with_an_edit() -> None:
    me = Api(alice())
    path = made(me, due_date=DUE, reminders=["-PT30M", "-PT1H"])
    kept = Reminder.objects.get(text="-PT1H").id
    assert list(changed(me, path, reminders=["-PT1H", "-PT2H"])) == ["-PT1H", "-PT2H"]
    assert Reminder.objects.get(text="-PT1H").id == kept
    assert changed(me, path, reminders=[]) == {}
    assert list(changed(me, path, reminders=["-PT1H"])) == ["-PT1H"]
    assert me.put(path, {"title": "Milk"}).status_code == 200
    assert times() == {}


def test_what_is_over_when_it_is_written_counts_as_passed() -> None:
    """Someone who sets a due date for the day after tomorrow wants no mail for a week before it."""
    me = Api(alice())
    soon = rfc3339(now() + timedelta(hours=1))
    path = made(me, due_date=soon, reminders=["-P1W", "-PT30M", "2020-01-01T00:00:00Z"])
    passed = {row.text: row.passed_at is not None for row in Reminder.objects.all()}
    assert passed == {"-P1W": True, "-PT30M": False, "2020-01-01T00:00:00.000Z": True}
    assert changed(me, path, due_date="2020-06-01")["-PT30M"].endswith("passed")


def test_a_reminder_that_moves_to_the_future_is_due_again() -> None:
    me = Api(alice())
    path = made(me, due_date="2020-01-31T09:00:00Z", reminders=["-PT30M"])
    assert times() == {"-PT30M": "2020-01-31T08:30:00.000Z passed"}
    assert changed(me, path, due_date=DUE) == {"-PT30M": "2099-03-29T08:30:00.000Z"}


def test_a_reminder_that_was_sent_is_not_due_again_while_its_time_stays() -> None:
    me = Api(alice())
    path = made(me, due_date=DUE, reminders=["-PT30M", "-PT1H"])
    Reminder.objects.filter(text="-PT1H").update(passed_at=now())
    for body in ({"reminders": ["-PT1H"]}, {"reminders": ["-PT1H", "-PT2H"]}, {"title": "Rye"}, {"due_date": DUE}):
        assert changed(me, path, **body)["-PT1H"] == "2099-03-29T08:00:00.000Z passed"


def test_a_reminder_that_is_just_due_stays_due_when_another_is_added() -> None:
    me = Api(alice())
    path = made(me, due_date=DUE, reminders=["-PT30M"])
    with time_machine.travel(datetime(2099, 3, 29, 8, 31, tzinfo=UTC), tick=False):
        me = Api(me.user)
        assert changed(me, path, reminders=["-PT30M", "-PT1H"]) == {
            "-PT1H": "2099-03-29T08:00:00.000Z passed",
            "-PT30M": "2099-03-29T08:30:00.000Z",
        }


@pytest.mark.parametrize("zone, before", [("Europe/Berlin", "08:00"), ("UTC", "07:00")])
def test_a_day_before_is_a_day_of_the_calendar_of_the_owner(zone: str, before: str) -> None:
    me = Api(person("alice", time_zone=zone))
    # In Berlin the clocks go forward in the night before the due date.
    made(me, due_date="2036-03-30T07:00:00Z", reminders=["-P1D", "-PT24H"])
    assert times() == {"-P1D": f"2036-03-29T{before}:00.000Z", "-PT24H": "2036-03-29T07:00:00.000Z"}


def test_a_new_time_zone_moves_the_reminders_that_depend_on_it() -> None:
    me, other = Api(alice()), Api(bob())
    made(me, due_date="2099-01-31", reminders=["-PT1H", "2099-01-01T00:00:00Z"])
    made(me, due_date="2036-03-30T07:00:00Z", reminders=["-P1D", "-PT30M"])
    made(other, due_date="2099-01-31", reminders=["-PT2H"])
    before = times()
    assert me.patch("profile/", {"time_zone": "Europe/Berlin"}).status_code == 200
    assert times() == before | {"-PT1H": "2099-01-31T21:59:59.999Z", "-P1D": "2036-03-29T08:00:00.000Z"}
    me.patch("profile/", {"time_zone": "UTC"})
    assert times() == before
    assert [action for action, _ in log_of(me.user)][-2:] == ["user.profile_updated"] * 2


def test_a_new_time_zone_neither_repeats_nor_loses_a_reminder() -> None:
    me = Api(alice())
    with time_machine.travel(datetime(2030, 1, 31, 12, tzinfo=UTC), tick=False):
        me = Api(me.user)
        made(me, due_date="2030-01-31", reminders=["-PT13H", "-PT10H"])
        made(me, due_date="2030-01-31", reminders=["-PT11H30M"])
        assert times() == {
            "-PT10H": "2030-01-31T13:59:59.999Z",
            "-PT11H30M": "2030-01-31T12:29:59.999Z",
            "-PT13H": "2030-01-31T10:59:59.999Z passed",
        }
        me.patch("profile/", {"time_zone": "Asia/Tokyo"})
        assert times()["-PT13H"].endswith("passed")
        assert not times()["-PT10H"].endswith("passed")
        assert times()["-PT10H"] == "2030-01-31T04:59:59.999Z"
        assert {row.remind_at for row in due_reminders(now(), 9)} == {
            datetime(2030, 1, 31, 4, 59, 59, 999000, tzinfo=UTC),
            datetime(2030, 1, 31, 3, 29, 59, 999000, tzinfo=UTC),
        }


def test_what_is_due_is_read_in_its_order_and_with_what_became_of_its_task() -> None:
    me = Api(alice())
    names = ["open", "overdue", "completed", "cancelled", "trashed"]
    paths = {
        name: made(me, title=name, reminders=[f"2099-01-0{5 - number}T00:00:00Z"]) for number, name in enumerate(names)
    }
    me.patch(paths["completed"], {"completed": True})
    me.patch(paths["cancelled"], {"status": "cancelled"})
    me.delete(paths["trashed"])
    me.patch(paths["overdue"], {"due_date": "2020-01-01"})
    assert mark_overdue(now=now()) == 1
    later = datetime(2099, 1, 5, tzinfo=UTC)
    found = due_reminders(later, 10)
    titles = dict(Task.objects.values_list("id", "title"))
    assert [(titles[row.task_id], row.is_wanted) for row in found] == [
        ("trashed", False),
        ("cancelled", False),
        ("completed", False),
        ("overdue", True),
        ("open", True),
    ]
    assert {row.owner_id for row in found} == {me.user.id}
    assert found[-1].remind_at == later
    assert Reminder.objects.get(pk=found[-1].id).task_id == found[-1].task_id
    assert len(due_reminders(later, 2)) == 2
    assert len(due_reminders(later - timedelta(milliseconds=1), 10)) == 4


def test_those_that_have_passed_are_not_due_any_more() -> None:
    me = Api(alice())
    made(me, reminders=["2099-01-01T00:00:00Z", "2099-01-02T00:00:00Z"])
    later = datetime(2099, 1, 3, tzinfo=UTC)
    first, second = due_reminders(later, 10)
    with CaptureQueriesContext(connection) as queries:
        assert pass_reminders(reminders=[first.id], now=later) == 1
    assert len(queries) == 1
    assert due_reminders(later, 10) == [second]
    assert Reminder.objects.get(pk=first.id).passed_at == later
    assert pass_reminders(reminders=[first.id, second.id, new_id()], now=later + timedelta(days=1)) == 1
    assert Reminder.objects.get(pk=first.id).passed_at == later
    assert due_reminders(later, 10) == []
    assert pass_reminders(reminders=[], now=later) == 0


def writes(api: Api, path: str, body: dict[str, Any]) -> list[str]:
    """The statements of a change that concern reminders."""
    with CaptureQueriesContext(connection) as queries:
        assert api.patch(path, body).status_code == 200
    return [query["sql"] for query in queries if "tasks_reminder" in query["sql"]]


def test_reminders_cost_a_statement_only_where_they_change() -> None:
    me = Api(alice())
    without, with_one = made(me), made(me, due_date=DUE, reminders=["-PT30M"])
    assert not writes(me, without, {"due_date": DUE})
    assert not writes(me, with_one, {"title": "Rye", "due_date": DUE, "reminders": ["-PT30M"]})
    assert not writes(me, with_one, {"status": "in_progress", "tags": ["a"]})
    assert len(writes(me, with_one, {"due_date": "2099-04-01"})) == 1
    assert len(writes(me, with_one, {"reminders": [f"-PT{minutes}M" for minutes in range(30, 40)]})) == 1
    assert len(writes(me, with_one, {"reminders": ["-PT1H"]})) == 2
    assert len(writes(me, with_one, {"reminders": []})) == 1


def test_a_task_that_is_refused_leaves_the_reminders_of_the_one_that_is_there() -> None:
    me, other = Api(alice()), Api(bob())
    path = made(me, due_date=DUE, reminders=["-PT30M"])
    body = {"title": "Rye", "id": path.split("/")[1], "due_date": "2099-12-31", "reminders": ["-PT30M", "-PT1H"]}
    for api in (me, other):
        assert api.post("tasks/", body).status_code == 409
    assert times() == {"-PT30M": "2099-03-29T08:30:00.000Z"}
