"""The migration that makes rows for the reminders of tasks from before there were such rows."""

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.db import connection

from cast import Api, alice, person
from duely.tasks.models import Reminder

pytestmark = pytest.mark.django_db

migration: Any = import_module("duely.tasks.migrations.0004_fill_reminders")


def fill() -> None:
    migration.fill(apps, SimpleNamespace(connection=connection))


def rows() -> dict[Any, tuple[Any, ...]]:
    """What is stored, without ids and the moment of passing."""
    return {
        (row.task_id, row.text): (row.owner_id, row.remind_at, row.passed_at is not None)
        for row in Reminder.objects.all()
    }


def some_tasks() -> None:
    berlin = Api(person("berta", time_zone="Europe/Berlin"))
    for api in (berlin, Api(alice())):
        for due in ("2036-03-30T07:00:00Z", "2036-10-26", "2020-01-31", None):
            reminders = [
                "-P1W",
                "-P1D",
                "-P1DT2H30M",
                "-PT30M",
                "-P0DT1M",
                "2035-01-01T00:00:00.123Z",
                "2020-01-01T00:00:00Z",
            ]
            for given in (reminders, reminders[3:4], []):
                assert api.post("tasks/", {"title": "x", "due_date": due, "reminders": given}).status_code == 201


@pytest.mark.parametrize("batch", [2, 500])
def test_it_makes_the_same_rows_as_the_actions_do(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(migration, "BATCH", batch)
    some_tasks()
    expected = rows()
    assert len(expected) == 2 * (3 * 8 + 2)
    Reminder.objects.all().delete()
    fill()
    assert rows() == expected


def test_it_can_be_run_again_after_it_was_broken_off() -> None:
    some_tasks()
    expected, ids = rows(), set(Reminder.objects.values_list("id", flat=True))
    broken = list(Reminder.objects.order_by("id").values_list("id", flat=True))[5:]
    Reminder.objects.filter(id__in=broken).delete()
    for _ in range(2):
        fill()
        assert rows() == expected
    assert len(set(Reminder.objects.values_list("id", flat=True)) & ids) == 5


def test_a_database_without_tasks_needs_nothing() -> None:
    fill()
    assert not Reminder.objects.exists()
