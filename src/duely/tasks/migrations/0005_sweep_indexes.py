"""Indexes for the sweeps over everyone's tasks: what is late, what is old in the trash, whole days of one owner.

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


class Migration(migrations.Migration):
    """Three partial indexes."""

    atomic = False
    dependencies = [("tasks", "0004_fill_reminders")]
    operations = [
        AddIndexWhileInUse(
            model_name="task",
            index=models.Index(
                condition=models.Q(
                    models.Q(("status", "pending"), ("status", "in_progress"), _connector="OR"),
                    ("deleted_at__isnull", True),
                ),
                fields=["due_at", "id"],
                name="tasks_task_open",
            ),
        ),
        AddIndexWhileInUse(
            model_name="task",
            index=models.Index(
                condition=models.Q(("deleted_at__isnull", False)),
                fields=["deleted_at", "id"],
                name="tasks_task_trash",
            ),
        ),
        AddIndexWhileInUse(
            model_name="task",
            index=models.Index(
                condition=models.Q(("due_on__isnull", False)),
                fields=["owner", "due_on"],
                name="tasks_task_due_on",
            ),
        ),
    ]
