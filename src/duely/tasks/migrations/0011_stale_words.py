"""Note the tasks whose text was written by code that did not index it for the search.

Code that indexes a text sets `words_version` with it, each time to another value. The triggers note a task that is
written without: by the release before, while both are at work, or by SQL of somebody's own.
"""

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

POSTGRESQL = """
CREATE FUNCTION tasks_note_stale_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tasks_stale_words (task_id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER tasks_task_new_text AFTER INSERT ON tasks_task
    FOR EACH ROW WHEN (NEW.words_version IS NULL) EXECUTE FUNCTION tasks_note_stale_words();
CREATE TRIGGER tasks_task_changed_text AFTER UPDATE OF title, description ON tasks_task
    FOR EACH ROW WHEN (
        (NEW.title IS DISTINCT FROM OLD.title OR NEW.description IS DISTINCT FROM OLD.description)
        AND NEW.words_version IS NOT DISTINCT FROM OLD.words_version
    ) EXECUTE FUNCTION tasks_note_stale_words();
"""
POSTGRESQL_BACK = """
DROP TRIGGER tasks_task_changed_text ON tasks_task;
DROP TRIGGER tasks_task_new_text ON tasks_task;
DROP FUNCTION tasks_note_stale_words();
"""
NOTE = "BEGIN INSERT OR IGNORE INTO tasks_stale_words (task_id) VALUES (NEW.id); END"
IS_CHANGED = (
    "(NEW.title IS NOT OLD.title OR NEW.description IS NOT OLD.description) AND NEW.words_version IS OLD.words_version"
)
SQLITE = [
    f"CREATE TRIGGER tasks_task_new_text AFTER INSERT ON tasks_task WHEN NEW.words_version IS NULL {NOTE}",
    f"CREATE TRIGGER tasks_task_changed_text AFTER UPDATE OF title, description ON tasks_task WHEN {IS_CHANGED} {NOTE}",
]
SQLITE_BACK = ["DROP TRIGGER tasks_task_changed_text", "DROP TRIGGER tasks_task_new_text"]


def watch(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Add the triggers."""
    for statement in [POSTGRESQL] if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement)


def look_away(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Remove the triggers."""
    for statement in [POSTGRESQL_BACK] if schema_editor.connection.vendor == "postgresql" else SQLITE_BACK:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    """A table for their ids, a column that tells whether a text is indexed, and the triggers."""

    dependencies = [("tasks", "0010_merge_in_steps")]

    operations = [
        migrations.CreateModel(
            name="StaleWords",
            fields=[("task_id", models.UUIDField(primary_key=True, serialize=False))],
            options={"db_table": "tasks_stale_words", "verbose_name_plural": "stale words"},
        ),
        migrations.AddField(model_name="task", name="words_version", field=models.IntegerField(null=True)),
        migrations.RunPython(watch, look_away),
    ]
