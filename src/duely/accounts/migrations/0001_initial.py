import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="User",
            fields=[
                ("password", models.CharField(max_length=128, verbose_name="password")),
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("username", models.CharField(max_length=150)),
                ("username_key", models.CharField(max_length=450)),
                ("email", models.EmailField(max_length=254)),
                ("email_key", models.CharField(max_length=254)),
                ("email_verified", models.BooleanField(default=False)),
                ("role", models.CharField(max_length=16)),
                ("is_active", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField()),
                ("signed_out_at", models.DateTimeField(null=True)),
                ("display_name", models.CharField(default="", max_length=150)),
                ("time_zone", models.CharField(default="UTC", max_length=64)),
                ("locale", models.CharField(default="en", max_length=35)),
                ("bio", models.CharField(default="", max_length=2000)),
                ("reminder_emails", models.BooleanField(default=True)),
                ("digest_hour", models.SmallIntegerField(default=None, null=True)),
            ],
            options={
                "db_table": "accounts_user",
                "indexes": [
                    models.Index(fields=["created_at", "id"], name="accounts_user_created"),
                    models.Index(
                        condition=models.Q(("is_active", True), ("role", "admin")),
                        fields=["id"],
                        name="accounts_user_admins",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("username_key",), name="accounts_user_username"),
                    models.UniqueConstraint(fields=("email_key",), name="accounts_user_email"),
                    models.CheckConstraint(
                        condition=models.Q(("username_key", ""), _negated=True), name="accounts_user_username_given"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("email_key", ""), _negated=True), name="accounts_user_email_given"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("role__in", ["admin", "member", "intern"])), name="accounts_user_role"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("digest_hour__isnull", True), ("digest_hour__range", (0, 23)), _connector="OR"
                        ),
                        name="accounts_user_digest_hour",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Session",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("created_at", models.DateTimeField()),
                ("last_used_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("ip", models.GenericIPAddressField(null=True)),
                ("user_agent", models.CharField(max_length=255)),
                ("ended_at", models.DateTimeField(null=True)),
                ("end_reason", models.CharField(max_length=32)),
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
                "db_table": "accounts_session",
            },
        ),
        migrations.CreateModel(
            name="RefreshToken",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("token_hash", models.CharField(max_length=64)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("used_at", models.DateTimeField(null=True)),
                (
                    "session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.session"
                    ),
                ),
            ],
            options={
                "db_table": "accounts_refresh_token",
            },
        ),
        migrations.AddIndex(
            model_name="session",
            index=models.Index(
                condition=models.Q(("ended_at__isnull", True)), fields=["user"], name="accounts_session_live"
            ),
        ),
        migrations.AddConstraint(
            model_name="refreshtoken",
            constraint=models.UniqueConstraint(fields=("token_hash",), name="accounts_refresh_token_hash"),
        ),
    ]
