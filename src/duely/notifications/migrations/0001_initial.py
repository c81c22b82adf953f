from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Digest",
            fields=[
                ("user_id", models.UUIDField(primary_key=True, serialize=False)),
                ("next_at", models.DateTimeField(db_index=True)),
            ],
            options={
                "db_table": "notifications_digest",
            },
        ),
        migrations.CreateModel(
            name="Notice",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=16)),
                ("subject_id", models.UUIDField()),
                ("due_at", models.DateTimeField()),
                ("recipient_id", models.UUIDField()),
                ("created_at", models.DateTimeField()),
                ("attempts", models.IntegerField()),
                ("attempted_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("outcome", models.CharField(max_length=16)),
            ],
            options={
                "db_table": "notifications_notice",
                "indexes": [
                    models.Index(fields=["created_at"], name="notifications_notice_created"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("subject_id", "due_at", "recipient_id", "kind"), name="notifications_notice_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["reminder", "digest"])), name="notifications_notice_kind"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ended_at__isnull", True), ("outcome", "")),
                            models.Q(
                                ("ended_at__isnull", False),
                                ("outcome__in", ["sent", "outdated", "unwanted", "empty", "refused"]),
                            ),
                            _connector="OR",
                        ),
                        name="notifications_notice_ended",
                    ),
                ],
            },
        ),
    ]
