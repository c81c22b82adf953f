from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("guard", "0002_ban"),
    ]

    operations = [
        migrations.CreateModel(
            name="InstalledKey",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("fingerprint", models.CharField(max_length=16)),
                ("since", models.DateTimeField()),
            ],
            options={
                "db_table": "guard_installed_key",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(id=1), name="guard_installed_key_one"),
                ],
            },
        ),
    ]
