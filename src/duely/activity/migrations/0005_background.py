from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("activity", "0004_owner_index")]

    operations = [
        migrations.AddField("counter", "background", models.SmallIntegerField(default=0, db_default=0)),
    ]
