"""Compare names of categories and tags in one Unicode form (NFKC), and not only without case.

Of two categories of one owner whose names are the same in that form, the one that has the form already keeps it, else
the older one gets it; the other one keeps its former key, so that both stay with all their tasks.
"""

import unicodedata
from typing import Any

from django.db import IntegrityError, migrations, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

BATCH = 500
SCANNED = 10_000
MAX_KEY = 300
INVISIBLE = dict.fromkeys((0x200C, 0x200D, 0xFE0E, 0xFE0F))
BEFORE_ALL = "00000000-0000-0000-0000-000000000000"
LAST = "SELECT id FROM tasks_task WHERE id > %s ORDER BY id LIMIT 1 OFFSET %s"
# Only tags beyond ASCII can change. On SQLite some are stored as escapes.
BEYOND_ASCII = {
    "postgresql": "tags::text ~ '[^\\x01-\\x7F]'",
    "sqlite": "(tags GLOB '*[^ -~]*' OR instr(tags, '\\u') > 0)",
}


def key_of(name: str) -> str:
    """As `tasks.rules.folded` was on the day of this migration."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return folded.translate(INVISIBLE)[:MAX_KEY]


def fold_categories(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Batch by batch in the order of the ids, which is that of their making. Run again, it finds nothing to do."""
    alias = schema_editor.connection.alias
    categories = apps.get_model("tasks", "Category").objects.using(alias).order_by("id")
    columns = categories.values_list("id", "owner_id", "name", "name_key")
    batch = list(columns[:BATCH])
    while batch:
        for category_id, owner_id, name, former in batch:
            key = key_of(name)
            if key == former or categories.filter(owner_id=owner_id, name_key=key).exists():
                continue
            try:
                with transaction.atomic(using=alias):
                    # Not when somebody has renamed it meanwhile.
                    categories.filter(pk=category_id, name=name).update(name_key=key)
            except IntegrityError:
                continue  # somebody has just made a category of this name
        batch = list(columns.filter(id__gt=batch[-1][0])[:BATCH])


def fold_tags(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """By ranges of ids, so that no statement scans the whole table. Run again, it finds nothing to do."""
    connection = schema_editor.connection
    tasks = apps.get_model("tasks", "Task").objects.using(connection.alias)
    start: Any = BEFORE_ALL.replace("-", "") if connection.vendor == "sqlite" else BEFORE_ALL
    while start is not None:
        with connection.cursor() as cursor:
            cursor.execute(LAST, [start, SCANNED - 1])
            end = next((row[0] for row in cursor.fetchall()), None)
            until, params = ("", [start]) if end is None else ("AND id <= %s", [start, end])
            condition = BEYOND_ASCII[connection.vendor]
            cursor.execute(f"SELECT id FROM tasks_task WHERE id > %s {until} AND {condition}", params)  # noqa: S608
            ids = [row[0] for row in cursor.fetchall()]
        for at in range(0, len(ids), BATCH):
            fold_tags_of(tasks, ids[at : at + BATCH])
        start = end


def fold_tags_of(tasks: Any, ids: list[Any]) -> None:
    """The tags of these tasks, in one transaction."""
    with transaction.atomic(using=tasks.db):
        for task in tasks.filter(pk__in=ids).only("tags", "tag_keys").order_by("id").select_for_update(no_key=True):
            keys = [key_of(tag) for tag in task.tags]
            if keys != task.tag_keys:
                tasks.filter(pk=task.pk).update(tag_keys=keys)


class Migration(migrations.Migration):
    """Former keys are found by the release before as long as they are what it would make: going back changes nothing."""

    atomic = False
    dependencies = [("tasks", "0015_words_format_2")]
    operations = [
        migrations.RunPython(fold_categories, migrations.RunPython.noop),
        migrations.RunPython(fold_tags, migrations.RunPython.noop),
    ]
