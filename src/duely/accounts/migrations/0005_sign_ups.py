from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_codes"),
    ]

    operations = [
        migrations.CreateModel(
            name="SignUp",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("username", models.CharField(max_length=150)),
                ("username_key", models.CharField(max_length=450)),
                ("email", models.EmailField(max_length=254)),
                ("email_key", models.CharField(max_length=254)),
                ("password", models.CharField(max_length=128)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "db_table": "accounts_signup",
                "indexes": [models.Index(fields=["expires_at"], name="accounts_signup_expires")],
                "constraints": [models.UniqueConstraint(fields=("username_key",), name="accounts_signup_username")],
            },
        ),
    ]
