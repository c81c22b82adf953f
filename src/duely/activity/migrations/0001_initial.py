from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Counter",
            fields=[
                ("owner_id", models.UUIDField(primary_key=True, serialize=False)),
                ("seq", models.BigIntegerField()),
            ],
            options={
                "db_table": "activity_counter",
            },
        ),
        migrations.CreateModel(
            name="Change",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("owner_id", models.UUIDField()),
                ("seq", models.BigIntegerField()),
                ("at", models.DateTimeField()),
                ("actor_id", models.UUIDField(null=True)),
                ("actor_name", models.CharField(max_length=150)),
                ("action", models.CharField(max_length=64)),
                ("target_type", models.CharField(max_length=32)),
                ("target_id", models.UUIDField(null=True)),
                ("target_label", models.CharField(max_length=255)),
                ("changes", models.JSONField()),
                ("ip", models.GenericIPAddressField(null=True)),
                ("user_agent", models.CharField(max_length=255)),
                ("request_id", models.CharField(max_length=128)),
            ],
            options={
                "db_table": "activity_change",
                "indexes": [
                    models.Index(fields=["owner_id", "target_id", "seq"], name="activity_change_target"),
                    models.Index(fields=["at", "id"], name="activity_change_at"),
                ],
                "constraints": [models.UniqueConstraint(fields=("owner_id", "seq"), name="activity_change_owner_seq")],
            },
        ),
    ]
