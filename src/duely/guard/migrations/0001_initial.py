from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Hit",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("key", models.CharField(max_length=64)),
                ("at", models.DateTimeField()),
            ],
            options={
                "db_table": "guard_hit",
                "indexes": [
                    models.Index(fields=["key", "at"], name="guard_hit_key"),
                    models.Index(fields=["at"], name="guard_hit_at"),
                ],
            },
        ),
    ]
