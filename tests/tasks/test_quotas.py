"""Quotas of what one user stores: exact, clear, and no reason to lose anything."""

import pytest

from cast import Api, alice, bob, log_of
from duely.activity.models import Change, Counter
from duely.core.errors import QuotaExceeded
from duely.core.quotas import CATEGORIES, LIMITS, TASKS
from duely.jobs import pace
from duely.jobs.models import Job
from duely.jobs.queue import enqueue
from duely.jobs.registry import named
from duely.jobs.runner import run_one
from duely.tasks.actions import many, sweeps
from duely.tasks.models import Category, Task
from quotas import assert_refused, bring_in, bring_in_table, leave_room, operations, stored

pytestmark = pytest.mark.django_db


def test_a_refusal_is_not_kept_for_its_key() -> None:
    me = Api(alice())
    leave_room(me.user, tasks=0)
    assert_refused(me.post("tasks/", {"title": "x"}, Idempotency_Key="k"), "tasks", TASKS)

    leave_room(me.user, tasks=1)

    assert me.post("tasks/", {"title": "x"}, Idempotency_Key="k").status_code == 201


def test_many_at_once_are_all_stored_or_none() -> None:
    me = Api(alice())
    leave_room(me.user, tasks=2)

    assert_refused(me.post("tasks/bulk/", operations(3)), "tasks", TASKS)

    assert not Task.objects.exists()
    assert me.post("tasks/bulk/", operations(2)).status_code == 200


@pytest.mark.parametrize("query", ["", "?preview=true"])
def test_an_import_that_does_not_fit_writes_nothing(query: str) -> None:
    me = Api(alice())
    assert bring_in(me, 2).status_code == 200
    assert me.post("tasks/bulk/", operations(3)).status_code == 200

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LIMITS, "tasks", 7)
        assert_refused(bring_in(me, 5, query), "tasks", 7)
        assert Task.objects.count() == 5
        assert bring_in(me, 4, query).json()["tasks"]["created"] == 2


@pytest.mark.parametrize("query", ["", "?preview=true"])
def test_an_import_with_too_many_categories_writes_nothing(query: str) -> None:
    me = Api(alice())
    me.post("categories/", {"name": "home"})
    leave_room(me.user, categories=1)
    table = "title,category\na,Home\nb,Work\nc,Garden\n"

    assert_refused(bring_in_table(me, table, query), "categories", CATEGORIES)

    assert (Task.objects.count(), Category.objects.count()) == (0, 1)
    assert bring_in_table(me, table.replace("Garden", "Work"), query).json()["categories"]["created"] == 1


@pytest.mark.parametrize("query", ["?preview=true", ""])
def test_an_import_that_adds_nothing_always_fits(query: str) -> None:
    me = Api(alice())
    assert bring_in(me, 3).status_code == 200

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LIMITS, "tasks", 2)
        assert bring_in(me, 3, query).json()["tasks"]["unchanged"] == 3


def test_a_category_too_many_is_refused() -> None:
    me = Api(alice())
    leave_room(me.user, categories=1)
    category = me.post("categories/", {"name": "Home"}).json()

    assert_refused(me.post("categories/", {"name": "Work"}), "categories", CATEGORIES)

    assert Category.objects.count() == 1
    me.delete(f"categories/{category['id']}/")
    assert me.post("categories/", {"name": "Work"}).status_code == 201


def test_what_is_there_may_change_when_a_quota_is_reached() -> None:
    me = Api(alice())
    task = me.post("tasks/", {"title": "x"}).json()
    leave_room(me.user, tasks=0)

    assert me.patch(f"tasks/{task['id']}/", {"title": "y"}).status_code == 200
    assert me.delete(f"tasks/{task['id']}/").status_code == 204
    assert me.post(f"tasks/{task['id']}/restore/").status_code == 200


def test_an_empty_trash_makes_room() -> None:
    me, other = Api(alice()), Api(bob())
    ids = [me.post("tasks/", {"title": f"{number}", "tags": ["a"]}).json()["id"] for number in range(3)]
    theirs = other.post("tasks/", {"title": "x"}).json()["id"]
    other.delete(f"tasks/{theirs}/")
    for task_id in ids[:2]:
        me.delete(f"tasks/{task_id}/")

    assert me.delete("tasks/trash/?confirm=true").json() == {"purged": 2, "has_more": False}

    assert {str(pk) for pk in Task.objects.values_list("pk", flat=True)} == {ids[2], theirs}
    assert [action for action, _ in log_of(me.user)][-2:] == ["task.purged"] * 2
    assert set(Change.objects.filter(action="task.purged").values_list("actor_id", flat=True)) == {me.user.id}
    assert stored(me.user) == (1, 0)
    assert me.delete("tasks/trash/").status_code == 400
    assert me.delete("tasks/trash/?confirm=true").json() == {"purged": 0, "has_more": False}


def test_a_full_trash_is_emptied_by_several_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "FIRST_ROWS", 2)
    monkeypatch.setattr(sweeps, "MOST", 3)
    me = Api(alice())
    me.post("tasks/bulk/", operations(5))
    assert many.MOST > 5
    me.delete("tasks/?confirm=true")

    assert me.delete("tasks/trash/?confirm=true").json() == {"purged": 3, "has_more": True}
    assert me.delete("tasks/trash/?confirm=true").json() == {"purged": 2, "has_more": False}


def test_what_is_counted_wrong_is_put_right() -> None:
    me, other = Api(alice()), Api(bob())
    me.post("tasks/", {"title": "x"})
    me.post("categories/", {"name": "Home"})
    other.post("tasks/", {"title": "x"})
    leave_room(me.user, tasks=0)

    job_id = enqueue(named("tasks.count_stored"))
    assert job_id is not None
    run_one(job_id, "test")

    assert Job.objects.get(pk=job_id).state == "done"
    assert [stored(api.user) for api in (me, other)] == [(1, 1), (1, 0)]
    assert me.post("tasks/", {"title": "y"}).status_code == 201


def test_who_has_more_than_the_quota_keeps_it_all() -> None:
    me = Api(alice())
    me.post("tasks/bulk/", operations(3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sweeps.LIMITS, "tasks", 2)
        Counter.objects.update(tasks=0)
        sweeps.count_stored(after=None, limit=10)
    assert (Counter.objects.get().tasks, Counter.objects.get().tasks_limit) == (3, 3)


def test_another_fault_of_the_database_is_no_quota() -> None:
    from django.db import IntegrityError

    from duely.activity.actions import _quota_or

    fault = IntegrityError("UNIQUE constraint failed: activity_change.id")

    assert _quota_or(fault) is fault
    assert isinstance(_quota_or(IntegrityError("activity_counter_tasks")), QuotaExceeded)
