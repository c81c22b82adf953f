"""Find the words of the tasks that are there already.

As the code of today does it, not that of the day when this was written: it is the one that searches.
"""

from typing import Any

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from duely.tasks.words import indexed_words, scope_of, tsvector

BATCH = 500


def fill(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Batch by batch in the order of the tasks' ids. Run again, it leaves what it made before."""
    connection = schema_editor.connection
    as_vector = connection.vendor == "postgresql"
    tasks = apps.get_model("tasks", "Task").objects.using(connection.alias).order_by("id")
    columns = tasks.values_list("id", "owner_id", "title", "description")
    batch = list(columns[:BATCH])
    while batch:
        values: list[Any] = []
        for task_id, owner_id, title, description in batch:
            scope = scope_of(owner_id)
            words = indexed_words(title, description)
            text = tsvector(words, scope) if as_vector else " ".join(words)
            values += [task_id if as_vector else task_id.hex, scope, text]
        marks = ", ".join(["(%s, %s, %s::tsvector)" if as_vector else "(%s, %s, %s)"] * len(batch))
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO tasks_words (task_id, scope, words) VALUES {marks}"  # noqa: S608
                " ON CONFLICT (task_id) DO NOTHING",
                values,
            )
        batch = list(columns.filter(id__gt=batch[-1][0])[:BATCH])


class Migration(migrations.Migration):
    """The rows go with their table when this is undone."""

    atomic = False
    dependencies = [("tasks", "0006_words")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
