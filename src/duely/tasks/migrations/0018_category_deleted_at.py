from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tasks", "0017_indexes_of_zones")]

    operations = [
        migrations.AddField("category", "deleted_at", models.DateTimeField(null=True)),
    ]
