"""The format of the words of each task, so that words of an older format can be found and made anew.

By SQL, the same on both databases: on SQLite Django would build the table anew, without the triggers that feed its
index of words. The default is the format of the words that are there, and PostgreSQL writes no row for it.
"""

from typing import Any

from django.db import migrations, models


class AddIndexWhileInUse(migrations.AddIndex):
    """As `AddIndexConcurrently` of django.contrib.postgres, but for SQLite too, and to be run again after a failure."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Build it."""
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        schema_editor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{self.index.name}"')
        schema_editor.add_index(model, self.index, concurrently=True)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Remove it."""
        if schema_editor.connection.vendor != "postgresql":
            super().database_backwards(app_label, schema_editor, from_state, to_state)
            return
        model = from_state.apps.get_model(app_label, self.model_name)
        schema_editor.remove_index(model, self.index, concurrently=True)


def add(apps: Any, schema_editor: Any) -> None:
    """Add the column, unless an earlier try did."""
    with schema_editor.connection.cursor() as cursor:
        columns = schema_editor.connection.introspection.get_table_description(cursor, "tasks_words")
    if "format" not in {column.name for column in columns}:
        schema_editor.execute("ALTER TABLE tasks_words ADD COLUMN format smallint NOT NULL DEFAULT 1")


def remove(apps: Any, schema_editor: Any) -> None:
    """Remove the column."""
    schema_editor.execute("ALTER TABLE tasks_words DROP COLUMN format")


class Migration(migrations.Migration):
    """A column, and an index of the rows whose words are of an older format: none, for now."""

    atomic = False
    dependencies = [("tasks", "0012_note_missing_words")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(add, remove)],
            state_operations=[
                migrations.AddField(model_name="taskwords", name="format", field=models.SmallIntegerField(db_default=1))
            ],
        ),
        AddIndexWhileInUse(
            model_name="taskwords",
            index=models.Index(condition=models.Q(("format__lt", 1)), fields=["task"], name="tasks_words_outdated"),
        ),
    ]
