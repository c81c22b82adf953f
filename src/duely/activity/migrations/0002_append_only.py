"""Let the database itself refuse to change or remove what the log holds."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

POSTGRESQL = """
CREATE FUNCTION activity_change_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the change log is append-only' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER activity_change_append_only BEFORE UPDATE OR DELETE ON activity_change
    FOR EACH ROW EXECUTE FUNCTION activity_change_is_append_only();
CREATE TRIGGER activity_change_no_truncate BEFORE TRUNCATE ON activity_change
    FOR EACH STATEMENT EXECUTE FUNCTION activity_change_is_append_only();
"""
POSTGRESQL_BACK = """
DROP TRIGGER activity_change_no_truncate ON activity_change;
DROP TRIGGER activity_change_append_only ON activity_change;
DROP FUNCTION activity_change_is_append_only();
"""
REFUSE = "BEGIN SELECT RAISE(ABORT, 'the change log is append-only'); END"
THERE_ALREADY = (
    "EXISTS (SELECT 1 FROM activity_change WHERE id = NEW.id OR (owner_id = NEW.owner_id AND seq = NEW.seq))"
)
SQLITE = [
    f"CREATE TRIGGER activity_change_no_update BEFORE UPDATE ON activity_change {REFUSE}",
    f"CREATE TRIGGER activity_change_no_delete BEFORE DELETE ON activity_change {REFUSE}",
    # INSERT OR REPLACE removes rows without asking the trigger of DELETE.
    f"CREATE TRIGGER activity_change_no_replace BEFORE INSERT ON activity_change WHEN {THERE_ALREADY} {REFUSE}",
]
SQLITE_BACK = [f"DROP TRIGGER activity_change_no_{event}" for event in ("update", "delete", "replace")]


def protect(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Add the triggers."""
    for statement in [POSTGRESQL] if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement)


def release(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Remove the triggers."""
    for statement in [POSTGRESQL_BACK] if schema_editor.connection.vendor == "postgresql" else SQLITE_BACK:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    """The triggers of the change log."""

    dependencies = [("activity", "0001_initial")]
    operations = [migrations.RunPython(protect, release)]
