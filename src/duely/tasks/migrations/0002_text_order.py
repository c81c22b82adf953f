"""Order text by code point on PostgreSQL, as SQLite does, whatever the database's locale says."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

COLUMNS = [("tasks_task", "title", "varchar(255)"), ("tasks_category", "name", "varchar(100)")]


def _collate(schema_editor: BaseDatabaseSchemaEditor, collation: str) -> None:
    if schema_editor.connection.vendor == "postgresql":
        for table, column, kind in COLUMNS:
            schema_editor.execute(f'ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind} COLLATE "{collation}"')


def by_code_point(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Take the C collation."""
    _collate(schema_editor, "C")


def by_locale(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Take the database's own collation again."""
    _collate(schema_editor, "default")


class Migration(migrations.Migration):
    """The columns that lists are ordered by."""

    dependencies = [("tasks", "0001_initial")]
    operations = [migrations.RunPython(by_code_point, by_locale)]
