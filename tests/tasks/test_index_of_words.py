"""The index of words on SQLite: each write merges a little of it, and none does the work of many."""

from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection

from cast import Api, alice

WRITES = 63
"""Each makes a segment. Left alone, FTS5 would merge 16 of one size at once: three of the second size, 15 of the first."""

pytestmark = [
    pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PostgreSQL has no segments"),
    pytest.mark.usefixtures("committed_db"),
]


def one(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])


def test_new_and_changed_words_are_merged_step_by_step() -> None:
    api = Api(alice())
    for number in range(WRITES):
        assert api.post("/api/v1/tasks/", {"title": f"Task {number}"}).status_code == 201
        assert segments() <= 10
    found = api.get("/api/v1/tasks/?search=task&limit=2").json()["data"]
    for number in range(WRITES):
        path = f"/api/v1/tasks/{found[number % 2]['id']}/"
        assert api.patch(path, {"title": f"Errand {number}"}).status_code == 200
        assert segments() <= 10
    assert len(api.get("/api/v1/tasks/?search=task&limit=100").json()["data"]) == WRITES - 2


def segments() -> int:
    return one("SELECT count(DISTINCT segid) FROM tasks_search_idx")


def test_the_migration_can_be_taken_back() -> None:
    migration = import_module("duely.tasks.migrations.0010_merge_in_steps")
    with connection.schema_editor() as editor:
        migration.merge_by_default(apps, editor)
    assert (automerge(), triggers()) == (4, 3)
    with connection.schema_editor() as editor:
        migration.merge_in_steps(apps, editor)
    assert (automerge(), triggers()) == (0, 5)


def automerge() -> int:
    return one("SELECT v FROM tasks_search_config WHERE k = 'automerge'")


def triggers() -> int:
    return one("SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'tasks_words'")
