"""Plan the digests of those who chose an hour before there were any: from tomorrow on, in their own zone."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.utils import timezone


def plan(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Run again, it plans those that are missing."""
    digests = apps.get_model("notifications", "Digest").objects
    users = apps.get_model("accounts", "User").objects.filter(digest_hour__isnull=False)
    planned = set(digests.values_list("user_id", flat=True))
    for user_id, hour, name in users.values_list("pk", "digest_hour", "time_zone").iterator():
        if user_id not in planned:
            zone = ZoneInfo(name)
            tomorrow = timezone.now().astimezone(zone).date() + timedelta(days=1)
            next_at = datetime.combine(tomorrow, time(hour), zone).astimezone(ZoneInfo("UTC"))
            digests.create(user_id=user_id, next_at=next_at)


class Migration(migrations.Migration):
    """Rows for what profiles say already."""

    dependencies = [("notifications", "0001_initial"), ("accounts", "0003_expiry_indexes")]
    operations = [migrations.RunPython(plan, migrations.RunPython.noop)]
