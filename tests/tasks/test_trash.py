"""What becomes of deleted tasks."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cast import Api, adam, alice, bob, log_of
from duely.core.clock import now, rfc3339
from duely.core.ids import new_id
from duely.tasks.actions import mark_overdue, purge_trash
from duely.tasks.models import Category, Reminder, Task
from duely.tasks.rules import TRASH_DAYS

pytestmark = pytest.mark.django_db


def trashed(api: Api, title: str = "Milk", **fields: Any) -> Task:
    response = api.post("tasks/", {"title": title, **fields})
    assert response.status_code == 201, response.content
    assert api.delete(f"tasks/{response.json()['id']}/").status_code == 204
    return Task.objects.get(pk=response.json()["id"])


@pytest.mark.parametrize("extra, purged", [(0, 0), (1, 1), (60_000, 1)])
def test_a_task_stays_in_the_trash_for_thirty_days(extra: int, purged: int) -> None:
    task = trashed(Api(alice()))
    end = task.deleted_at + timedelta(days=30, milliseconds=extra)
    assert TRASH_DAYS == 30
    assert purge_trash(now=end) == purged
    assert Task.objects.count() == 1 - purged
    assert purge_trash(now=end) == 0


def test_the_system_records_what_it_removed() -> None:
    me = Api(alice())
    task = trashed(me)
    purge_trash(now=now() + timedelta(days=31))
    assert log_of(me.user)[-1] == ("task.purged", {"title": ["Milk", None]})
    entry = me.get("activity-logs/").json()["data"][0]
    assert (entry["actor"], entry["seq"], entry["target"]) == (
        None,
        3,
        {"type": "task", "id": str(task.id), "label": "Milk"},
    )


def test_its_reminders_go_with_it_and_its_category_stays() -> None:
    me = Api(alice())
    home = me.post("categories/", {"name": "Home"}).json()
    trashed(me, reminders=["2099-01-01T00:00:00Z"], category=home["id"])
    kept = me.post("tasks/", {"title": "Rye", "reminders": ["2099-01-01T00:00:00Z"]}).json()
    assert purge_trash(now=now() + timedelta(days=31)) == 1
    assert [str(row.task_id) for row in Reminder.objects.all()] == [kept["id"]]
    assert Category.objects.count() == 1


def test_tasks_outside_the_trash_stay_for_ever() -> None:
    me = Api(alice())
    made = me.post("tasks/", {"title": "Milk", "due_date": "1900-01-01", "status": "completed"}).json()
    assert purge_trash(now=now() + timedelta(days=9999)) == 0
    assert me.get(f"tasks/{made['id']}/").json() == made


def test_the_oldest_go_first_and_no_more_than_asked() -> None:
    me, other = Api(alice()), Api(bob())
    tasks = [trashed(api, f"{number}") for number, api in enumerate((me, other, me, other))]
    for task, days in zip(tasks, (33, 31, 34, 32), strict=True):
        Task.objects.filter(pk=task.pk).update(deleted_at=now() - timedelta(days=days))
    assert purge_trash(now=now(), limit=3) == 3
    assert Task.objects.get().title == "1"
    assert purge_trash(now=now(), limit=3) == 1
    for api in (me, other):
        assert [action for action, _ in log_of(api.user)][-2:] == ["task.purged"] * 2


@pytest.mark.parametrize("tasks", [1, 30])
def test_a_call_costs_the_same_few_statements_for_any_number_of_tasks(tasks: int) -> None:
    me, other = Api(alice()), Api(bob())
    for number in range(tasks):
        trashed((me, other)[number % 2], reminders=["2099-01-01T00:00:00Z"])
    with CaptureQueriesContext(connection) as queries:
        assert purge_trash(now=now() + timedelta(days=31)) == tasks
    assert len(queries) == 8, [query["sql"][:80] for query in queries]


def test_what_is_in_the_trash_does_not_become_overdue() -> None:
    task = trashed(Api(alice()), due_date="2020-01-31")
    assert mark_overdue(now=now()) == 0
    assert Task.objects.get(pk=task.pk).status == "pending"


# The trash over HTTP


def test_the_trash_lists_what_was_deleted_the_newest_first() -> None:
    me, other = Api(alice()), Api(bob())
    for title in ("Milk", "Bread", "Butter"):
        trashed(me, title, priority="high" if title == "Bread" else "low")
    trashed(other, "Jam")
    me.post("tasks/", {"title": "Still there"})
    shown = me.get("tasks/trash/").json()["data"]
    assert [task["title"] for task in shown] == ["Butter", "Bread", "Milk"]
    assert all(task["deleted_at"] for task in shown)
    assert [task["title"] for task in me.get("tasks/trash/?priority=high").json()["data"]] == ["Bread"]
    assert [task["title"] for task in me.get("tasks/trash/?ordering=title&limit=1").json()["data"]] == ["Bread"]
    assert len(Api(adam()).get("tasks/trash/").json()["data"]) == 4
    cursor = me.get("tasks/trash/?limit=2").json()["pagination"]["next_cursor"]
    assert [task["title"] for task in me.get(f"tasks/trash/?limit=2&cursor={cursor}").json()["data"]] == ["Milk"]


def test_the_trash_is_not_sent_again_while_it_has_not_changed() -> None:
    me = Api(alice())
    trashed(me)
    tag = me.get("tasks/trash/").headers["ETag"]
    assert me.get("tasks/trash/", If_None_Match=tag).status_code == 304
    assert me.get("tasks/", If_None_Match=tag).status_code == 200
    trashed(me, "Bread")
    assert me.get("tasks/trash/", If_None_Match=tag).status_code == 200


def test_a_restored_task_is_what_it_was() -> None:
    me = Api(alice())
    home = me.post("categories/", {"name": "Home"}).json()["id"]
    fields = {"status": "in_progress", "category": home, "tags": ["a"], "reminders": ["2099-01-01T00:00:00Z"]}
    task = me.post("tasks/", {"title": "Milk", "due_date": "2099-01-31", **fields}).json()
    path = f"tasks/{task['id']}/"
    me.delete(path)
    answer = me.post(f"{path}restore/")
    assert answer.status_code == 200
    assert answer.headers["ETag"] == '"3"'
    changed = {"version": 3, "updated_at": answer.json()["updated_at"]}
    assert answer.json() == {**task, **changed}
    assert me.get(path).json() == answer.json()
    assert me.get("tasks/trash/").json()["data"] == []
    assert [found["title"] for found in me.get("tasks/?search=milk").json()["data"]] == ["Milk"]
    deleted, restored = log_of(me.user)[-2:]
    assert restored == ("task.restored", {"deleted_at": [deleted[1]["deleted_at"][1], None]})


def test_what_is_not_in_the_trash_cannot_be_restored() -> None:
    me, other = Api(alice()), Api(bob())
    task = me.post("tasks/", {"title": "Milk"}).json()
    path = f"tasks/{task['id']}/restore/"
    answer = me.post(path)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_in_trash")
    for answer in (other.post(path), me.post(f"tasks/{new_id()}/restore/")):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert [action for action, _ in log_of(me.user)] == ["task.created"]


def test_a_foreign_task_in_the_trash_is_not_there() -> None:
    me, other = Api(alice()), Api(bob())
    task = trashed(me)
    assert other.post(f"tasks/{task.id}/restore/").status_code == 404
    assert Api(adam()).post(f"tasks/{task.id}/restore/").status_code == 200
    assert log_of(me.user)[-1][0] == "task.restored"


def test_a_task_whose_category_went_meanwhile_comes_back_without_one() -> None:
    me = Api(alice())
    home = me.post("categories/", {"name": "Home"}).json()["id"]
    task = trashed(me, category=home)
    me.delete(f"categories/{home}/")
    assert me.post(f"tasks/{task.id}/restore/").json()["category"] is None


def test_a_restored_task_that_is_late_becomes_overdue() -> None:
    me = Api(alice())
    with time_machine.travel(now() - timedelta(days=2)):
        task = trashed(Api(me.user), due_date=rfc3339(now() + timedelta(days=1)))
    assert mark_overdue(now=now()) == 0
    assert me.post(f"tasks/{task.id}/restore/").json()["status"] == "pending"
    assert mark_overdue(now=now()) == 1


def test_after_thirty_days_there_is_nothing_to_restore() -> None:
    me = Api(alice())
    task = trashed(me)
    purge_trash(now=now() + timedelta(days=31))
    assert me.post(f"tasks/{task.id}/restore/").status_code == 404
