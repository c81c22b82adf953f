"""Words of format 2: half-width katakana and their voiced marks are one letter. Older ones are made anew by a job."""

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


class RemoveIndexWhileInUse(migrations.RemoveIndex):
    """As `RemoveIndexConcurrently` of django.contrib.postgres, but for SQLite too."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Remove it."""
        index = from_state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
        AddIndexWhileInUse(self.model_name, index).database_backwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Build it."""
        index = to_state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
        AddIndexWhileInUse(self.model_name, index).database_forwards(app_label, schema_editor, from_state, to_state)


class Migration(migrations.Migration):
    """The index of outdated words, for the new number."""

    atomic = False
    dependencies = [("tasks", "0014_reminder_indexes")]
    operations = [
        RemoveIndexWhileInUse(model_name="taskwords", name="tasks_words_outdated"),
        AddIndexWhileInUse(
            model_name="taskwords",
            index=models.Index(condition=models.Q(("format__lt", 2)), fields=["task"], name="tasks_words_outdated"),
        ),
    ]
