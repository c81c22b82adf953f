"""A search finds what was written by code that does not index it, and words of an older format are made anew."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import Q
from django.db.models.sql import InsertQuery

from cast import Api, alice
from duely.core.clock import now
from duely.core.ids import new_id
from duely.jobs.queue import tick
from duely.jobs.registry import known
from duely.tasks import actions, words
from duely.tasks import jobs as task_jobs
from duely.tasks.actions import index_stale_words, sweeps
from duely.tasks.models import StaleWords, Task, TaskWords
from plans import ANYWHERE, faults
from transfer.helpers import bring, counts, export

pytestmark = pytest.mark.django_db

UNKNOWN = {"words_version"}
"""Columns that the release before does not know."""


@pytest.fixture
def api() -> Api:
    return Api(alice())


def titles(api: Api, wanted: str) -> list[str]:
    tasks = api.get(f"tasks/?search={wanted}&ordering=title").json()["data"]
    return [task["title"] for task in tasks]


def insert_as_before(owner_id: UUID, title: str, description: str = "") -> UUID:
    """As code does that knows neither the words nor the column that tells of them."""
    at = now()
    task = Task(
        id=new_id(),
        owner_id=owner_id,
        title=title,
        description=description,
        status="pending",
        priority=2,
        tags=[],
        tag_keys=[],
        reminders=[],
        created_at=at,
        updated_at=at,
    )
    query = InsertQuery(Task)
    fields = [field for field in Task._meta.local_concrete_fields if field.name not in UNKNOWN]
    query.insert_values(fields, [task])
    [(sql, params)] = query.get_compiler(connection=connection).as_sql()
    execute(sql, params)
    return task.id


def edit_as_before(task_id: Any, **columns: Any) -> None:
    changes = ", ".join(f"{name} = %s" for name in columns)
    execute(f"UPDATE tasks_task SET {changes}, version = version + 1 WHERE id = %s", [*columns.values(), key(task_id)])


def execute(sql: str, params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def key(task_id: Any) -> Any:
    return Task._meta.pk.get_db_prep_value(UUID(str(task_id)), connection)


def made(api: Api, title: str, **fields: Any) -> str:
    response = api.post("tasks/", {"title": title, **fields})
    assert response.status_code == 201, response.content
    return str(response.json()["id"])


def test_the_schedule_finds_what_older_code_wrote(api: Api, work: Callable[[datetime], None]) -> None:
    inserted = insert_as_before(api.user.id, "Milk", "two bottles")
    edited = made(api, "Bread")
    edit_as_before(edited, title="Butter")
    assert (titles(api, "milk"), titles(api, "butter"), titles(api, "bread")) == ([], [], ["Butter"])

    assert known()["tasks.index_words"].every < timedelta(minutes=1)
    tick()
    work(now())

    assert (titles(api, "bottles"), titles(api, "butter"), titles(api, "bread")) == (["Milk"], ["Butter"], [])
    edit_as_before(inserted, description="three cans")
    edit_as_before(edited, title="Cheese")
    assert index_stale_words() == 2
    assert (titles(api, "cans"), titles(api, "bottles"), titles(api, "cheese")) == (["Milk"], [], ["Cheese"])
    assert index_stale_words() == 0


def test_words_written_without_the_versions_column_are_made_anew(api: Api) -> None:
    """The release before indexes a text by itself, in its own way."""
    task = made(api, "Milk")
    edit_as_before(task, title="Butter")
    execute("UPDATE tasks_words SET words = 'whatever' WHERE task_id = %s", [key(task)])
    assert index_stale_words() == 1
    assert titles(api, "butter") == ["Butter"]


def test_what_this_code_writes_is_never_noted(api: Api) -> None:
    task = made(api, "Milk", reminders=["-P1D"], due_date="2099-01-31")
    api.patch(f"tasks/{task}/", {"title": "Butter", "description": "salted"})
    api.put(f"tasks/{task}/", {"title": "Bread"})
    update = {"op": "update", "id": task, "title": "Cheese"}
    api.post("tasks/bulk/", {"operations": [{"op": "create", "title": "Jam"}, update]})
    file = json.loads(export(api))
    for row in file["tasks"]:
        row |= {"title": f"{row['title']} 2", "updated_at": "2098-01-31T00:00:00.000Z"}
    file["tasks"].append({"id": str(new_id()), "title": "Salt 2"})
    assert counts(bring(api, file)) == {"created": 1, "updated": 2}
    api.delete(f"tasks/{task}/")
    api.post(f"tasks/{task}/restore/")
    assert titles(api, "2") == ["Cheese 2", "Jam 2", "Salt 2"]
    assert not StaleWords.objects.exists()
    assert not Task.objects.filter(words_version=None).exists()


def test_other_edits_of_older_code_are_not_noted(api: Api) -> None:
    task = made(api, "Milk")
    edit_as_before(task, title="Milk", priority=3)
    assert not StaleWords.objects.exists()


def test_a_task_that_is_gone_is_forgotten(api: Api) -> None:
    task = insert_as_before(api.user.id, "Milk")
    execute("DELETE FROM tasks_task WHERE id = %s", [key(task)])
    assert index_stale_words() == 1
    assert not StaleWords.objects.exists()
    assert not TaskWords.objects.exists()


def test_words_of_an_older_format_are_made_anew(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = {UUID(made(api, f"Milk {number}")) for number in range(5)}
    older, newer = words.WORDS_FORMAT, words.WORDS_FORMAT + 1
    monkeypatch.setattr(words, "WORDS_FORMAT", newer)
    new = UUID(made(api, "Bread"))
    monkeypatch.setattr("duely.tasks.search.OUTDATED", Q(format__lt=newer))
    assert set(TaskWords.objects.filter(format=older).values_list("task_id", flat=True)) == ids

    assert [index_stale_words(limit=2) for _ in range(4)] == [2, 2, 1, 0]

    assert set(TaskWords.objects.filter(format=newer).values_list("task_id", flat=True)) == ids | {new}
    assert len(titles(api, "milk")) == 5


def test_half_width_letters_of_old_tasks_are_found_later(api: Api) -> None:
    task = UUID(made(api, "ｶﾞｽ代"))
    # The words and the format of the release before.
    vector = words.tsvector(["カ", "ス", "代"], words.scope_of(api.user.id))
    is_postgresql = connection.vendor == "postgresql"
    former = vector if is_postgresql else "カ ス 代"
    cast = "::tsvector" if is_postgresql else ""
    execute(f"UPDATE tasks_words SET format = 1, words = %s{cast} WHERE task_id = %s", [former, key(task)])
    assert titles(api, "ガス") == []

    assert [index_stale_words() for _ in range(2)] == [1, 0]

    assert titles(api, "ガス") == titles(api, "ｶﾞｽ") == ["ｶﾞｽ代"]


def test_one_transaction_indexes_a_bounded_number_of_characters(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        insert_as_before(api.user.id, f"Milk {number}", "word " * 20)
    monkeypatch.setattr(sweeps, "INDEXED_TEXT", 250)
    assert [index_stale_words() for _ in range(4)] == [2, 2, 1, 0]
    insert_as_before(api.user.id, "Bread", "word " * 60)
    assert [index_stale_words() for _ in range(2)] == [1, 0]


def test_one_run_of_the_job_is_bounded(
    api: Api, monkeypatch: pytest.MonkeyPatch, work: Callable[[datetime], None]
) -> None:
    for number in range(5):
        insert_as_before(api.user.id, f"Milk {number}")
    monkeypatch.setattr(task_jobs, "MOST_BATCHES", 3)
    monkeypatch.setattr(actions, "index_stale_words", lambda: index_stale_words(limit=1))
    tick()
    work(now())
    assert StaleWords.objects.count() == 2


def test_nothing_to_do_costs_two_reads_by_an_index(api: Api, django_assert_num_queries: Any) -> None:
    made(api, "Milk")
    with django_assert_num_queries(2):
        assert index_stale_words() == 0
    assert not faults(index_stale_words, by=ANYWHERE)


@pytest.mark.parametrize("batch", [2, 5, 100])
def test_the_migration_notes_the_tasks_without_words(api: Api, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    ids = [UUID(made(api, f"Milk {number}")) for number in range(5)]
    TaskWords.objects.filter(task_id__in=ids[1:4]).delete()
    migration = import_module("duely.tasks.migrations.0012_note_missing_words")
    monkeypatch.setattr(migration, "BATCH", batch)

    for _ in range(2):
        migration.note(apps, SimpleNamespace(connection=connection))

    assert set(StaleWords.objects.values_list("task_id", flat=True)) == set(ids[1:4])
    index_stale_words()
    assert len(titles(api, "milk")) == 5
