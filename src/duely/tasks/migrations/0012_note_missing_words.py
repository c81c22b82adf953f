"""Note the tasks that have no words yet: those that an older release made after the words were filled."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

BATCH = 10_000
NOTE = """
INSERT INTO tasks_stale_words (task_id)
SELECT id FROM tasks_task WHERE id > %s AND id <= %s
    AND NOT EXISTS (SELECT 1 FROM tasks_words WHERE tasks_words.task_id = tasks_task.id)
ON CONFLICT DO NOTHING"""
FIRST = "SELECT id FROM tasks_task WHERE id > %s ORDER BY id LIMIT 1 OFFSET %s"
LAST = "SELECT id FROM tasks_task WHERE id > %s ORDER BY id DESC LIMIT 1"
BEFORE_ALL = "00000000-0000-0000-0000-000000000000"


def note(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Batch by batch in the order of the tasks' ids. Run again, it leaves what it noted before."""
    is_sqlite = schema_editor.connection.vendor == "sqlite"
    start = BEFORE_ALL.replace("-", "") if is_sqlite else BEFORE_ALL
    with schema_editor.connection.cursor() as cursor:
        while True:
            cursor.execute(FIRST, [start, BATCH - 1])
            row = cursor.fetchone()
            if row is None:
                cursor.execute(LAST, [start])
                row = cursor.fetchone()
            if row is None:
                return
            cursor.execute(NOTE, [start, row[0]])
            start = row[0]


class Migration(migrations.Migration):
    """The rows go with their table when this is undone."""

    atomic = False
    dependencies = [("tasks", "0011_stale_words")]
    operations = [migrations.RunPython(note, migrations.RunPython.noop)]
