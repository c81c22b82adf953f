import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0006_mail_paused_until"),
    ]

    operations = [
        migrations.CreateModel(
            name="KnownAddress",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("network", models.CharField(max_length=43)),
                ("seen_at", models.DateTimeField()),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "accounts_known_address",
                "indexes": [models.Index(fields=["seen_at"], name="accounts_known_address_seen")],
                "constraints": [
                    models.UniqueConstraint(fields=("user", "network"), name="accounts_known_address_user")
                ],
            },
        ),
    ]
