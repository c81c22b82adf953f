"""On SQLite every second write to the words merges a little of their index.

FTS5 gives each transaction a segment of its own, and merges segments as it goes: by default once in so many writes, in
one of them, which took a twentieth of a second with the file locked.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

# Pages of 4 KB. A word stands in the index twice, and is merged again as the index grows: text of 800 characters fills
# about one page, and has some four to merge.
STEP = "INSERT INTO tasks_search (tasks_search, rank) VALUES ('merge', 8 + length(NEW.words) / 100)"
TRIGGER = "CREATE TRIGGER tasks_words_{name} AFTER {event} ON tasks_words WHEN NEW.id % 2 = 0 BEGIN {step}; END"
AUTOMERGE = "INSERT INTO tasks_search (tasks_search, rank) VALUES ('automerge', {segments})"
EVENTS = {"merge_new": "INSERT", "merge_changed": "UPDATE"}


def merge_in_steps(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Have each write do its share. Should that not suffice, FTS5 merges 16 segments of one size at once, as ever."""
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute(AUTOMERGE.format(segments=0))
        for name, event in EVENTS.items():
            schema_editor.execute(TRIGGER.format(name=name, event=event, step=STEP))


def merge_by_default(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Leave it to FTS5."""
    if schema_editor.connection.vendor == "sqlite":
        for name in EVENTS:
            schema_editor.execute(f"DROP TRIGGER tasks_words_{name}")
        schema_editor.execute(AUTOMERGE.format(segments=4))


class Migration(migrations.Migration):
    """Triggers on SQLite."""

    dependencies = [("tasks", "0009_owner_indexes")]
    operations = [migrations.RunPython(merge_in_steps, merge_by_default)]
