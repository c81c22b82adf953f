"""An index from which the quotas of kept answers are computed.

PostgreSQL builds it while requests go on. A build that was broken off leaves an index that is not used: it is removed
before the next try.
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
    """One index."""

    atomic = False
    dependencies = [("api", "0002_kept_answer_user")]
    operations = [
        AddIndexWhileInUse(
            model_name="keptanswer",
            index=models.Index(fields=["user_id", "created_at", "size"], name="api_kept_answer_user"),
        ),
    ]
