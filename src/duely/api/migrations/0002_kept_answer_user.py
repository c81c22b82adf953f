"""The user and the size of each kept answer, for the quotas.

The release before writes rows without them. These are not counted, and are purged after a day.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Two columns that may be left out."""

    dependencies = [("api", "0001_kept_answer")]
    operations = [
        migrations.AddField("keptanswer", "user_id", models.UUIDField(null=True)),
        migrations.AddField("keptanswer", "size", models.IntegerField(default=0, db_default=0)),
    ]
