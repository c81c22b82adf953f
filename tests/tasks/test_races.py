"""Two requests at once, with real connections and commits."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from cast import Api, adam, alice, bob, log_of
from duely.accounts.models import User
from duely.activity.models import Change
from duely.core.clock import now
from duely.core.ids import new_id
from duely.tasks import actions, edits
from duely.tasks.models import Category, Task
from duely.tasks.rules import placed
from races import together

ROUNDS = 6


def status(response: Any) -> int:
    return response.status_code


def actor_of(user: Any) -> Any:
    from duely.core.actor import Actor, Origin

    return Actor(id=user.id, name=user.username, role=user.role, session_id=None, zone=user.time_zone, origin=Origin())


def made(api: Api, **fields: Any) -> dict[str, Any]:
    response = api.post("tasks/", {"title": "Milk", **fields})
    assert response.status_code == 201, response.content
    return response.json()


def category_of(api: Api, name: str = "Home") -> str:
    response = api.post("categories/", {"name": name})
    assert response.status_code == 201, response.content
    return response.json()["id"]


def assert_log_is_whole(user: Any) -> None:
    seqs = list(Change.objects.filter(owner_id=user.id).order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, len(seqs) + 1))


class Held:
    """One side of a race that stops in its transaction until the other has run into it."""

    def __init__(self, seconds: float = 0.4) -> None:
        self.seconds = seconds
        self.has_written = threading.Event()

    def first(self, work: Callable[[], Any]) -> Any:
        with transaction.atomic():
            result = work()
            self.has_written.set()
            time.sleep(self.seconds)
        return result

    def second(self, work: Callable[[], Any]) -> Any:
        assert self.has_written.wait(10)
        return work()


def test_two_patches_of_different_fields_both_survive(committed_db: None) -> None:
    me = Api(alice())
    task = made(me)
    path = f"tasks/{task['id']}/"
    for number in range(ROUNDS):
        results = together(
            lambda number=number: status(me.patch(path, {"title": f"Milk {number}"})),
            lambda number=number: status(me.patch(path, {"description": f"Fresh {number}"})),
        )
        assert results == [200, 200]
        after = me.get(path).json()
        assert (after["title"], after["description"]) == (f"Milk {number}", f"Fresh {number}")
        assert after["version"] == 3 + 2 * number
    assert len(log_of(me.user)) == 1 + 2 * ROUNDS
    assert_log_is_whole(me.user)


def test_a_patch_that_waited_changes_the_task_as_the_other_left_it(committed_db: None) -> None:
    me = Api(alice())
    task = made(me)
    actor, held = actor_of(me.user), Held()
    first, second = together(
        lambda: held.first(
            lambda: actions.update_task(actor=actor, task_id=task["id"], fields={"title": "Bread"}, now=now())
        ),
        lambda: held.second(lambda: me.patch(f"tasks/{task['id']}/", {"tags": ["a"]})),
    )
    assert first.version == 2
    assert second.status_code == 200
    assert (second.json()["title"], second.json()["tags"], second.json()["version"]) == ("Bread", ["a"], 3)
    assert log_of(me.user)[1:] == [
        ("task.updated", {"title": ["Milk", "Bread"]}),
        ("task.updated", {"tags": [[], ["a"]]}),
    ]


def test_the_same_patch_twice_at_once_is_one_change(committed_db: None) -> None:
    me = Api(alice())
    task = made(me)
    path = f"tasks/{task['id']}/"
    assert together(*[lambda: status(me.patch(path, {"completed": True}))] * 2) == [200, 200]
    assert me.get(path).json()["version"] == 2
    assert [action for action, _ in log_of(me.user)] == ["task.created", "task.status_changed"]


def test_of_two_deletions_at_once_one_finds_nothing(committed_db: None) -> None:
    me = Api(alice())
    for _ in range(ROUNDS):
        task = made(me)
        assert sorted(together(*[lambda task=task: status(me.delete(f"tasks/{task['id']}/"))] * 2)) == [204, 404]
    assert [action for action, _ in log_of(me.user)] == ["task.created", "task.deleted"] * ROUNDS


def test_of_two_tasks_with_one_id_one_is_made(committed_db: None) -> None:
    me = Api(alice())
    for _ in range(ROUNDS):
        body = {"title": "Milk", "id": str(new_id())}
        assert sorted(together(*[lambda body=body: status(me.post("tasks/", body))] * 2)) == [201, 409]
    assert Task.objects.count() == ROUNDS
    assert_log_is_whole(me.user)


def test_of_two_categories_with_one_name_one_is_made(committed_db: None) -> None:
    me = Api(alice())
    for number in range(ROUNDS):
        names = (f"Ärger {number}", f"ÄRGER {number}")
        results = together(*(lambda name=name: status(me.post("categories/", {"name": name})) for name in names))
        assert sorted(results) == [201, 409]
    assert Category.objects.count() == ROUNDS
    assert_log_is_whole(me.user)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_task_never_ends_in_a_category_that_is_being_deleted(committed_db: None, method: str) -> None:
    me = Api(alice())
    for number in range(ROUNDS):
        category, task = category_of(me, f"{number}"), made(me)
        path = "tasks/" if method == "POST" else f"tasks/{task['id']}/"
        put, deleted = together(
            lambda path=path, category=category: me.call(method, path, {"title": "x", "category": category}),
            lambda category=category: me.delete(f"categories/{category}/"),
        )
        assert deleted.status_code == 204, deleted.content
        assert put.status_code in {200, 201, 400}, put.content
        if put.status_code == 400:
            assert put.json()["errors"][0]["field"] == "category"
        assert not Category.objects.exists()
        assert not Task.objects.exclude(category=None).exists()
    assert_log_is_whole(me.user)


@pytest.mark.parametrize("makes_new", [True, False])
def test_a_category_is_deleted_with_the_task_that_is_just_being_put_into_it(
    committed_db: None, makes_new: bool
) -> None:
    me = Api(alice())
    category, task = category_of(me), made(me)
    actor, held = actor_of(me.user), Held()
    fields = {"title": "x", "category": Category.objects.get().id}

    def put() -> Any:
        if makes_new:
            return actions.create_task(actor=actor, fields=fields, now=now())
        return actions.update_task(actor=actor, task_id=task["id"], fields=fields, now=now())

    _, deleted = together(lambda: held.first(put), lambda: held.second(lambda: me.delete(f"categories/{category}/")))
    assert deleted.status_code == 204, deleted.content
    assert Task.objects.filter(title="x").count() == 1
    assert not Task.objects.exclude(category=None).exists()
    assert [action for action, _ in log_of(me.user)][-2:] == ["task.updated", "category.deleted"]
    assert_log_is_whole(me.user)


@pytest.mark.parametrize("makes_new", [True, False])
def test_a_task_is_not_put_into_a_category_that_is_just_being_deleted(committed_db: None, makes_new: bool) -> None:
    me = Api(alice())
    category, task = category_of(me), made(me)
    actor, held = actor_of(me.user), Held()
    call = ("POST", "tasks/") if makes_new else ("PATCH", f"tasks/{task['id']}/")
    _, put = together(
        lambda: held.first(lambda: actions.delete_category(actor=actor, category_id=category, now=now())),
        lambda: held.second(lambda: me.call(*call, {"title": "x", "category": category})),
    )
    assert put.status_code == 400, put.content
    assert put.json()["errors"] == [{"field": "category", "code": "not_found", "message": "There is no such category."}]
    assert not Task.objects.filter(title="x").exists()
    assert_log_is_whole(me.user)


def test_a_whole_day_that_is_set_while_the_time_zone_changes_is_placed_in_the_new_one(committed_db: None) -> None:
    from duely.accounts.actions import update_profile

    me = Api(alice())
    task = made(me)
    actor = actor_of(me.user)
    for zone, write in [
        ("Pacific/Kiritimati", lambda: me.post("tasks/", {"title": "x", "due_date": "2026-01-31"})),
        ("Etc/GMT+12", lambda: me.patch(f"tasks/{task['id']}/", {"due_date": "2026-01-31"})),
    ]:
        held = Held()
        _, response = together(
            lambda held=held, zone=zone: held.first(
                lambda: update_profile(actor=actor, values={"time_zone": zone}, now=now())
            ),
            lambda held=held, write=write: held.second(write),
        )
        assert response.status_code in {200, 201}, response.content
        assert User.objects.get().time_zone == zone
        for row in Task.objects.exclude(due_on=None):
            assert row.due_at == placed(row.due_on, zone), (row.title, zone)


@pytest.mark.slow
def test_a_request_that_waits_too_long_is_told_to_come_again(committed_db: None) -> None:
    me = Api(alice())
    task = made(me)
    path = f"tasks/{task['id']}/"
    actor = actor_of(me.user)
    patience = 1 if connection.vendor == "postgresql" else 5
    held = Held(patience + 1.5)

    def impatient() -> tuple[Any, float]:
        started = time.monotonic()
        response = me.patch(path, {"title": "Rye"})
        return response, time.monotonic() - started

    _, (response, seconds) = together(
        lambda: held.first(
            lambda: actions.update_task(actor=actor, task_id=task["id"], fields={"title": "Bread"}, now=now())
        ),
        lambda: held.second(impatient),
    )
    assert response.status_code == 503
    assert response.json()["code"] == "unavailable"
    assert response.headers["Retry-After"] == "1"
    assert patience * 0.5 < seconds < patience + 1.5
    assert me.get(path).json()["title"] == "Bread"
    assert me.patch(path, {"title": "Rye"}).status_code == 200
    assert_log_is_whole(me.user)


def test_many_changes_of_the_same_tasks_in_another_order_do_not_lock_each_other_out(committed_db: None) -> None:
    me, boss, other = Api(alice()), Api(adam()), Api(bob())
    mine, theirs = [made(me) for _ in range(5)], [made(other) for _ in range(5)]

    def renamed(api: Api, tasks: list[dict[str, Any]], title: str) -> list[int]:
        operations = [{"op": "update", "id": task["id"], "title": title} for task in tasks]
        answer = api.post("tasks/bulk/", {"operations": operations})
        assert answer.status_code == 200, answer.content
        return [result["status"] for result in answer.json()["results"]]

    for turn in range(4):
        there = [task for pair in zip(mine, theirs, strict=True) for task in pair]
        results = together(
            lambda turn=turn, tasks=there: renamed(boss, tasks, f"a {turn}"),
            lambda turn=turn: renamed(boss, [*reversed(theirs), *reversed(mine)], f"b {turn}"),
            lambda turn=turn: renamed(me, [*reversed(mine)], f"c {turn}"),
        )
        assert {status for statuses in results for status in statuses} == {200}
    for user in (me.user, other.user):
        assert_log_is_whole(user)


def test_an_id_that_someone_else_takes_meanwhile_is_refused_and_the_rest_is_done(committed_db: None) -> None:
    me, other, held, chosen = Api(alice()), Api(bob()), Held(), str(new_id())
    operations = [{"op": "create", "title": "Milk", "id": chosen}, {"op": "create", "title": "Butter"}]
    first, second = together(
        lambda: held.first(lambda: other.post("tasks/", {"title": "Bread", "id": chosen})),
        lambda: held.second(lambda: me.post("tasks/bulk/", {"operations": operations})),
    )
    assert first.status_code == 201
    assert [result["status"] for result in second.json()["results"]] == [409, 201]
    assert {task.title for task in Task.objects.all()} == {"Bread", "Butter"}
    assert_log_is_whole(me.user)


def test_of_two_restorations_at_once_one_finds_it_where_it_belongs(committed_db: None) -> None:
    me = Api(alice())
    for _ in range(ROUNDS):
        path = f"tasks/{made(me)['id']}/"
        me.delete(path)
        assert sorted(together(*[lambda path=path: status(me.post(f"{path}restore/"))] * 2)) == [200, 409]
    assert [action for action, _ in log_of(me.user)] == ["task.created", "task.deleted", "task.restored"] * ROUNDS


def test_all_my_tasks_and_an_edit_of_one_at_once_leave_a_true_log(committed_db: None) -> None:
    me = Api(alice())
    for _ in range(ROUNDS):
        task = made(me)
        path = f"tasks/{task['id']}/"
        gone, edited = together(
            lambda: me.delete("tasks/?confirm=true").json(),
            lambda path=path: status(me.patch(path, {"title": "Bread"})),
        )
        assert gone == {"deleted": 1, "has_more": False}
        assert edited in (200, 404)
        stored = Task.objects.get(pk=task["id"])
        assert stored.deleted_at is not None
        assert stored.version == (3 if edited == 200 else 2)
    assert_log_is_whole(me.user)


EDITS = [
    ({"priority": "high"}, {"tags": ["a"]}),
    ({"completed": True}, {"due_date": "2099-01-31T12:00:00.000Z"}),
    ({"title": "Bread"}, {"priority": "low"}),
]


@pytest.mark.parametrize("one, other", EDITS)
def test_edits_that_lock_nothing_are_both_there_whoever_is_first(
    committed_db: None, one: dict[str, Any], other: dict[str, Any]
) -> None:
    me = Api(alice())
    task = made(me)
    path = f"tasks/{task['id']}/"
    for number in range(1, ROUNDS + 1):
        back = {"priority": "medium", "tags": [], "completed": False, "due_date": None, "title": "Milk"}
        assert me.patch(path, back).status_code == 200
        before = me.get(path).json()["version"]
        assert together(*[lambda body=body: status(me.patch(path, body)) for body in (one, other)]) == [200, 200]
        after = me.get(path).json()
        wanted = {**one, **other}
        assert {name: after[name] for name in wanted} == wanted
        assert after["version"] == before + 2, number
    assert_log_is_whole(me.user)


MEANWHILE: list[tuple[Callable[[Api, str], Any], int]] = [
    (lambda me, path: me.delete(path), 404),
    (lambda me, path: me.patch(path, {"tags": ["b"]}), 200),
    (lambda me, path: Task.objects.filter(pk=path[6:-1]).update(due_at=now()), 200),
]


@pytest.mark.parametrize("meanwhile, expected", MEANWHILE, ids=["deleted", "edited", "moved"])
def test_an_edit_that_comes_second_starts_again_from_what_the_first_one_left(
    committed_db: None, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[Api, str], Any], expected: int
) -> None:
    me, plan = Api(alice()), edits.planned
    path = f"tasks/{made(me)['id']}/"
    pending = [meanwhile]

    def planned(*args: Any, **kwargs: Any) -> Any:
        found = plan(*args, **kwargs)
        while pending:
            pending.pop()(me, path)
        return found

    monkeypatch.setattr(edits, "planned", planned)
    answer = me.patch(path, {"priority": "high"})
    assert answer.status_code == expected
    if expected == 200:
        assert answer.json() == me.get(path).json()
        assert answer.json()["priority"] == "high"
    assert_log_is_whole(me.user)
