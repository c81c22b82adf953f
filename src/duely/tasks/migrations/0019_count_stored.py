"""Fills in how many tasks and categories each owner has stored. May be run again: it counts anew."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

BATCH = 200
COUNT = """
    UPDATE activity_counter SET tasks = {tasks}, categories = {categories},
        tasks_limit = {greatest}(tasks_limit, {tasks}),
        categories_limit = {greatest}(categories_limit, {categories})
    WHERE owner_id IN ({marks})"""
TASKS = "(SELECT count(*) FROM tasks_task t WHERE t.owner_id = activity_counter.owner_id)"
CATEGORIES = "(SELECT count(*) FROM tasks_category c WHERE c.owner_id = activity_counter.owner_id)"


def count(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Count, some owners at a time."""
    counter = apps.get_model("activity", "Counter")
    greatest = "GREATEST" if schema_editor.connection.vendor == "postgresql" else "MAX"
    after = None
    while True:
        owners = counter.objects.order_by("owner_id")
        if after is not None:
            owners = owners.filter(owner_id__gt=after)
        ids = list(owners.values_list("owner_id", flat=True)[:BATCH])
        if not ids:
            return
        marks = ", ".join(["%s"] * len(ids))
        sql = COUNT.format(tasks=TASKS, categories=CATEGORIES, greatest=greatest, marks=marks)
        field = counter._meta.pk
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(sql, [field.get_db_prep_value(owner, schema_editor.connection) for owner in ids])
        after = ids[-1]


class Migration(migrations.Migration):
    """Counts of what is stored."""

    atomic = False
    dependencies = [("tasks", "0018_category_deleted_at"), ("activity", "0006_stored")]
    operations = [migrations.RunPython(count, migrations.RunPython.noop)]
