from django.db import migrations, models


class Migration(migrations.Migration):
    """Counts what each owner stores, with limits. The tasks module fills in the numbers."""

    dependencies = [("activity", "0005_background")]

    operations = [
        migrations.AddField("counter", "tasks", models.IntegerField(default=0, db_default=0)),
        migrations.AddField("counter", "tasks_limit", models.IntegerField(default=100_000, db_default=100_000)),
        migrations.AddField("counter", "categories", models.IntegerField(default=0, db_default=0)),
        migrations.AddField("counter", "categories_limit", models.IntegerField(default=1_000, db_default=1_000)),
        migrations.AddConstraint(
            "counter",
            models.CheckConstraint(
                condition=models.Q(tasks__lte=models.F("tasks_limit")), name="activity_counter_tasks"
            ),
        ),
        migrations.AddConstraint(
            "counter",
            models.CheckConstraint(
                condition=models.Q(categories__lte=models.F("categories_limit")), name="activity_counter_categories"
            ),
        ),
    ]
