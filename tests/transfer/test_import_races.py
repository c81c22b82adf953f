"""Files that come in and go out while others are at work, with real connections and commits."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from cast import Api, alice, bob, log_of
from duely.core.errors import Unavailable
from duely.tasks.models import Category, Task
from duely.transfer import exports, imports
from races import in_thread, together
from transfer.helpers import bring, counts, export

IDS = [f"0198c3a0-0000-7000-8000-{number:012}" for number in range(40)]
FILE = {
    "format": "duely",
    "version": 1,
    "categories": [{"id": IDS[0], "name": "Home"}],
    "tasks": [{"id": each, "title": "x", "category": IDS[0]} for each in IDS],
}
ROUNDS = 4


def test_an_export_is_of_one_instant(committed_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    me = Api(alice())
    bring(me, FILE)
    before = export(me)
    read = exports.queries.own_tasks

    def change() -> None:
        me.patch(f"tasks/{IDS[0]}/", {"title": "Changed"})
        me.delete(f"tasks/{IDS[1]}/")
        me.post("tasks/", {"title": "New"})

    def meanwhile(actor: Any) -> Any:
        """Everything changes after the categories have been read."""
        with ThreadPoolExecutor(1) as pool:
            pool.submit(in_thread, change).result(30)
        return read(actor)

    with monkeypatch.context() as patched:
        patched.setattr(exports.queries, "own_tasks", meanwhile)
        assert export(me).partition(b"profile")[2] == before.partition(b"profile")[2]
    assert b"Changed" in export(me)


def test_two_people_bring_in_the_same_file_at_once(committed_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "BATCH", 5)
    people = [alice(), bob()]
    apis = [Api(person) for person in people]
    first, second = together(*(lambda api=api: bring(api, FILE) for api in apis))
    assert counts(first) == counts(second) == {"created": len(IDS)}
    for person in people:
        assert Task.objects.filter(owner_id=person.id, category__owner_id=person.id).count() == len(IDS)
        assert len(log_of(person)) == 1 + len(IDS)
    assert [counts(bring(api, FILE)) for api in apis] == [{"unchanged": len(IDS)}] * 2


def test_one_brings_in_the_same_file_twice_at_once(committed_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "BATCH", 5)
    user = alice()
    api = Api(user)
    found = [counts(answer) for answer in together(*[lambda: bring(api, FILE)] * 3)]
    assert sum(each.get("created", 0) for each in found) == len(IDS)
    assert sum(each.get("unchanged", 0) for each in found) == 2 * len(IDS)
    assert Category.objects.count() == 1
    assert len(log_of(user)) == 1 + len(IDS)


def test_a_category_that_someone_makes_meanwhile_is_taken(committed_db: None) -> None:
    api = Api(alice())
    for identifier in IDS[:ROUNDS]:
        category = {"id": identifier, "name": f"Home {identifier}"}
        make = partial(api.post, "categories/", {"name": category["name"]})
        made, brought = together(make, partial(bring, api, {**FILE, "categories": [category], "tasks": []}))
        assert made.status_code in (201, 409)
        assert brought.status_code == 200
        assert Category.objects.filter(name=category["name"]).count() == 1


def test_edits_and_deletions_while_a_file_comes_in_wait_their_turn(
    committed_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "BATCH", 3)
    user = alice()
    api = Api(user)
    bring(api, FILE)
    newer = {**FILE, "tasks": [{**task, "title": "y", "updated_at": "2031-01-31T09:00:00Z"} for task in FILE["tasks"]]}

    def edit() -> list[int]:
        return [api.patch(f"tasks/{each}/", {"description": "mine"}).status_code for each in reversed(IDS)]

    def delete() -> int:
        return api.delete(f"categories/{IDS[0]}/").status_code

    answer, edits, deletion = together(lambda: bring(api, newer), edit, delete)
    assert (counts(answer), edits, deletion) == ({"updated": len(IDS)}, [200] * len(IDS), 204)
    # It goes before the file names it, which makes it anew, or after that, and then for all tasks.
    (category,) = set(Task.objects.values_list("category", flat=True))
    assert category == Category.objects.values_list("pk", flat=True).first()
    assert set(Task.objects.values_list("description", flat=True)) <= {"mine", ""}


def test_who_is_always_too_late_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import IntegrityError

    tries = []

    def action() -> None:
        tries.append(1)
        raise IntegrityError

    with pytest.raises(Unavailable):
        imports._until_nobody_was_faster(action)
    assert len(tries) == imports.TRIES
