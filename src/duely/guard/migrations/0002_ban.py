from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("guard", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Ban",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("network", models.CharField(max_length=43)),
                ("reason", models.CharField(max_length=255)),
                ("until", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("lifted_at", models.DateTimeField(null=True)),
                ("automatic", models.BooleanField()),
                ("created_by", models.UUIDField(null=True)),
                ("created_by_name", models.CharField(max_length=150)),
            ],
            options={
                "db_table": "guard_ban",
                "indexes": [
                    models.Index(fields=["network", "created_at"], name="guard_ban_network"),
                    models.Index(fields=["created_at", "id"], name="guard_ban_created_at"),
                    models.Index(fields=["until", "id"], name="guard_ban_until"),
                ],
            },
        ),
    ]
