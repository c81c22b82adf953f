"""The database itself keeps the change log as it was written."""

import pytest
from django.db import DatabaseError, connection, transaction

from cast import Api, alice
from duely.activity.models import Change

pytestmark = pytest.mark.django_db

COLUMNS = (
    "id, owner_id, at, actor_id, actor_name, action, target_type, target_id, target_label, ip, user_agent, request_id"
)
STATEMENTS = [
    "UPDATE activity_change SET action = 'nothing.happened'",
    "UPDATE activity_change SET seq = seq + 100",
    "UPDATE activity_change SET ip = NULL, user_agent = '' WHERE seq = 1",
    "DELETE FROM activity_change",
    "DELETE FROM activity_change WHERE seq = 1",
]
ON_POSTGRESQL = [
    "TRUNCATE activity_change",
    "TRUNCATE activity_change CASCADE",
    "TRUNCATE activity_change, activity_counter",
    "MERGE INTO activity_change AS kept USING activity_change AS other ON kept.id = other.id WHEN MATCHED THEN DELETE",
    (
        f"INSERT INTO activity_change ({COLUMNS}, seq, changes) SELECT {COLUMNS}, seq, changes FROM activity_change"
        " ON CONFLICT (id) DO UPDATE SET action = 'nothing.happened'"
    ),
]
ON_SQLITE = [
    "UPDATE OR REPLACE activity_change SET seq = 1",
    "UPDATE OR IGNORE activity_change SET action = 'nothing.happened'",
    f"INSERT OR REPLACE INTO activity_change ({COLUMNS}, seq, changes) SELECT {COLUMNS}, seq, '{{}}' FROM activity_change",
    f"REPLACE INTO activity_change ({COLUMNS}, seq, changes) SELECT {COLUMNS}, seq, '{{}}' FROM activity_change",
    (
        f"INSERT INTO activity_change ({COLUMNS}, seq, changes) SELECT {COLUMNS}, seq, changes FROM activity_change WHERE true"
        " ON CONFLICT (id) DO UPDATE SET action = 'nothing.happened'"
    ),
]


def statements() -> list[str]:
    return STATEMENTS + (ON_POSTGRESQL if connection.vendor == "postgresql" else ON_SQLITE)


def test_no_statement_changes_or_removes_an_entry() -> None:
    me = Api(alice())
    for title in ("Milk", "Bread"):
        me.post("tasks/", {"title": title})
    before = list(Change.objects.order_by("seq").values())
    assert len(before) == 2
    for statement in statements():
        with transaction.atomic():
            point = transaction.savepoint()
            with connection.cursor() as cursor:
                try:
                    cursor.execute(statement)
                    refusal = None
                except DatabaseError as fault:
                    refusal = str(fault)
            transaction.savepoint_rollback(point)
        assert refusal is not None, statement
        assert "append-only" in refusal, statement
    assert list(Change.objects.order_by("seq").values()) == before


def test_no_call_of_the_orm_does_either() -> None:
    Api(alice()).post("tasks/", {"title": "Milk"})
    entry = Change.objects.get()
    entry.action = "nothing.happened"
    for call in (entry.save, entry.delete, Change.objects.all().delete, lambda: Change.objects.update(seq=5)):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            call()
    assert Change.objects.get().action == "task.created"


def test_two_entries_never_share_a_number() -> None:
    from django.db import IntegrityError

    Api(alice()).post("tasks/", {"title": "Milk"})
    entry = Change.objects.get()
    from duely.core.ids import new_id

    entry.pk = new_id()
    entry._state.adding = True
    with pytest.raises(IntegrityError), transaction.atomic():
        entry.save(force_insert=True)


def test_the_admins_pages_only_show_it() -> None:
    from django.contrib import admin
    from django.test import RequestFactory

    from cast import adam

    request = RequestFactory().get("/admin/")
    request.user = adam()
    page = admin.site._registry[Change]
    assert page.has_view_permission(request)
    assert not page.has_add_permission(request)
    assert not page.has_change_permission(request)
    assert not page.has_delete_permission(request)
