"""Indexes that end in the id, so that a job finds the next all-day tasks and reminders of an owner in an index range.

PostgreSQL builds them while requests go on. A build that was broken off leaves an index that is not used: it is
removed before the next try.
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
    """Two indexes, which take the place of two others."""

    atomic = False
    dependencies = [("tasks", "0016_normal_names")]
    operations = [
        AddIndexWhileInUse(
            model_name="task",
            index=models.Index(
                condition=models.Q(("due_on__isnull", False)),
                fields=["owner", "due_on", "id"],
                name="tasks_task_by_day",
            ),
        ),
        AddIndexWhileInUse(
            model_name="reminder",
            index=models.Index(
                condition=models.Q(("passed_at__isnull", True)),
                fields=["owner_id", "remind_at", "id"],
                name="tasks_reminder_of_owner",
            ),
        ),
        RemoveIndexWhileInUse(model_name="task", name="tasks_task_due_on"),
        RemoveIndexWhileInUse(model_name="reminder", name="tasks_reminder_by_owner"),
    ]
