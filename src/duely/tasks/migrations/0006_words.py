"""The words of each task that a search finds.

PostgreSQL keeps them as a tsvector. On SQLite triggers hand them on to an FTS5 index without a copy of the text: by
themselves, for those who see everyone's tasks, and behind their scope.
"""

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

OWN = "replace(' ' || {row}.words, ' ', ' ·' || {row}.scope)"
PUT = f"INSERT INTO tasks_search (rowid, own, every) VALUES (NEW.id, {OWN.format(row='NEW')}, NEW.words)"  # noqa: S608
TAKE = (
    "INSERT INTO tasks_search (tasks_search, rowid, own, every)"  # noqa: S608
    f" VALUES ('delete', OLD.id, {OWN.format(row='OLD')}, OLD.words)"
)
SQLITE = [
    # With this tokenizer a word is what stands between blanks: the words are made before they get here.
    "CREATE VIRTUAL TABLE tasks_search USING fts5 (own, every, content = '', tokenize = 'ascii')",
    f"CREATE TRIGGER tasks_words_put AFTER INSERT ON tasks_words BEGIN {PUT}; END",
    f"CREATE TRIGGER tasks_words_change AFTER UPDATE ON tasks_words BEGIN {TAKE}; {PUT}; END",
    f"CREATE TRIGGER tasks_words_take AFTER DELETE ON tasks_words BEGIN {TAKE}; END",
]
SQLITE_BACK = [
    "DROP TRIGGER tasks_words_take",
    "DROP TRIGGER tasks_words_change",
    "DROP TRIGGER tasks_words_put",
    "DROP TABLE tasks_search",
]
POSTGRESQL = "ALTER TABLE tasks_words ALTER COLUMN words TYPE tsvector USING words::tsvector"
POSTGRESQL_BACK = "ALTER TABLE tasks_words ALTER COLUMN words TYPE text USING words::text"


def index(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Prepare the table for what the database searches by."""
    for statement in [POSTGRESQL] if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement)


def forget(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Leave plain text."""
    for statement in [POSTGRESQL_BACK] if schema_editor.connection.vendor == "postgresql" else SQLITE_BACK:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    """The table and, on SQLite, its index."""

    dependencies = [("tasks", "0005_sweep_indexes")]

    operations = [
        migrations.CreateModel(
            name="TaskWords",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "task",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tasks.task"
                    ),
                ),
                ("scope", models.CharField(max_length=12)),
                ("words", models.TextField()),
            ],
            options={"db_table": "tasks_words"},
        ),
        migrations.RunPython(index, forget),
    ]
