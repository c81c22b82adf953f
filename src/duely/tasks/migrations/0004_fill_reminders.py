"""Make rows for the reminders of the tasks that are there already.

Those of the past count as passed: nobody wants to be reminded of last year.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.utils import timezone

from duely.core.ids import new_id

BATCH = 500
OFFSET = re.compile(r"-P(?:(\d+)W|(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?)?)", re.ASCII)


def fill(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Batch by batch in the order of the tasks' ids. Run again, it leaves what it made before."""
    database = schema_editor.connection.alias
    reminders = apps.get_model("tasks", "Reminder").objects.using(database)
    tasks = apps.get_model("tasks", "Task").objects.using(database).exclude(reminders=[]).order_by("id")
    columns = tasks.values_list("id", "owner_id", "owner__time_zone", "due_at", "reminders")
    now = timezone.now()
    batch = list(columns[:BATCH])
    while batch:
        rows = [reminders.model(**values) for task in batch for values in rows_of(*task, now=now)]
        reminders.bulk_create(rows, ignore_conflicts=True)
        batch = list(columns.filter(id__gt=batch[-1][0])[:BATCH])


def rows_of(
    task_id: Any, owner_id: Any, zone: str, due_at: datetime | None, texts: list[str], *, now: datetime
) -> Iterator[dict[str, Any]]:
    """The rows of one task, as columns."""
    for text in texts:
        remind_at = instant_of(text, due_at, zone)
        if remind_at is not None:
            yield {
                "id": new_id(),
                "task_id": task_id,
                "owner_id": owner_id,
                "text": text,
                "remind_at": remind_at,
                "passed_at": now if remind_at <= now else None,
            }


def instant_of(text: str, due_at: datetime | None, zone: str) -> datetime | None:
    """As `tasks.rules.reminded_at` was on the day of this migration."""
    match = OFFSET.fullmatch(text)
    if match is None:
        return datetime.fromisoformat(text)
    if due_at is None:
        return None
    weeks, days, hours, minutes = (int(part or 0) for part in match.groups())
    if weeks or days:
        due = due_at.astimezone(ZoneInfo(zone)).replace(fold=0)
        due_at = (due - timedelta(weeks=weeks, days=days)).astimezone(UTC)
    return due_at - timedelta(hours=hours, minutes=minutes)


class Migration(migrations.Migration):
    """The rows go with their table when this is undone."""

    atomic = False
    dependencies = [("tasks", "0003_reminder"), ("accounts", "0001_initial")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
