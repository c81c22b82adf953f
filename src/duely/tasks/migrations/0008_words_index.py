"""The index of words on PostgreSQL, built while requests go on. A build that was broken off is removed before the next try."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

# Each insert does its own share of the work: with a pending list every so many of them one does that of all others.
BUILD = "CREATE INDEX CONCURRENTLY tasks_words_words ON tasks_words USING gin (words) WITH (fastupdate = off)"


def build(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Build it."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX CONCURRENTLY IF EXISTS tasks_words_words")
        schema_editor.execute(BUILD)


def drop(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Remove it."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX CONCURRENTLY tasks_words_words")


class Migration(migrations.Migration):
    """One GIN index."""

    atomic = False
    dependencies = [("tasks", "0007_fill_words")]
    operations = [migrations.RunPython(build, drop)]
