from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Schedule",
            fields=[
                ("name", models.CharField(max_length=100, primary_key=True, serialize=False)),
                ("next_at", models.DateTimeField()),
            ],
            options={
                "db_table": "jobs_schedule",
            },
        ),
        migrations.CreateModel(
            name="Job",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100)),
                ("args", models.JSONField()),
                ("key", models.CharField(max_length=255, null=True)),
                ("state", models.CharField(max_length=8)),
                ("urgent", models.BooleanField()),
                ("run_at", models.DateTimeField()),
                ("attempts", models.IntegerField()),
                ("fence", models.IntegerField()),
                ("losses", models.SmallIntegerField()),
                ("worker", models.CharField(max_length=100)),
                ("lease_until", models.DateTimeField(null=True)),
                ("handed_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("error", models.TextField()),
            ],
            options={
                "db_table": "jobs_job",
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "waiting")),
                        fields=["urgent", "run_at", "id"],
                        name="jobs_job_waiting",
                    ),
                    models.Index(
                        condition=models.Q(("state", "running")), fields=["lease_until"], name="jobs_job_running"
                    ),
                    models.Index(fields=["state", "finished_at"], name="jobs_job_finished"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "waiting")), fields=("key",), name="jobs_job_one_waits"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["waiting", "running", "done", "dead"])), name="jobs_job_state"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(models.Q(("state", "running")), ("lease_until__isnull", False)),
                            models.Q(models.Q(("state", "running"), _negated=True), ("lease_until__isnull", True)),
                            _connector="OR",
                        ),
                        name="jobs_job_leased",
                    ),
                ],
            },
        ),
    ]
