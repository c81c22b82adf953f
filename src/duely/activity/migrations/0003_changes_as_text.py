"""What changed, as text on PostgreSQL too: it is only ever written and read as a whole.

The table is locked while it is written anew.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

ALTER = "ALTER TABLE activity_change ALTER COLUMN changes TYPE {0} USING changes::{0}"


def to_text(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """jsonb becomes text."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(ALTER.format("text"))


def to_jsonb(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Text becomes jsonb."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(ALTER.format("jsonb"))


class Migration(migrations.Migration):
    """One column of PostgreSQL."""

    dependencies = [("activity", "0002_append_only")]
    operations = [migrations.RunPython(to_text, to_jsonb)]
