"""Notices that were not sent because the address is unproven or the mailbox has reached its daily limit."""

from typing import Any

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

FORMER = ["sent", "outdated", "unwanted", "empty", "refused"]
NEW = ["unproven", "limited"]
BATCH = 1000


def ended(outcomes: list[str]) -> Any:
    return models.CheckConstraint(
        condition=models.Q(
            models.Q(("ended_at__isnull", True), ("outcome", "")),
            models.Q(("ended_at__isnull", False), ("outcome__in", outcomes)),
            _connector="OR",
        ),
        name="notifications_notice_ended",
    )


def merge(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """On the way back: the former outcomes say only that nothing was sent."""
    notices = apps.get_model("notifications", "Notice").objects.using(schema_editor.connection.alias)
    while batch := list(notices.filter(outcome__in=NEW).values_list("pk", flat=True)[:BATCH]):
        notices.filter(pk__in=batch).update(outcome="refused")


class Migration(migrations.Migration):
    dependencies = [("notifications", "0002_plan_digests")]
    operations = [
        migrations.RemoveConstraint(model_name="notice", name="notifications_notice_ended"),
        migrations.RunPython(migrations.RunPython.noop, merge),
        migrations.AddConstraint(model_name="notice", constraint=ended([*FORMER, *NEW])),
    ]
