from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="MailCount",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("mailbox", models.CharField(max_length=64)),
                ("day", models.DateField()),
                ("allowance", models.CharField(max_length=16)),
                ("sent", models.IntegerField()),
                ("refused", models.IntegerField()),
            ],
            options={
                "db_table": "mail_count",
                "indexes": [models.Index(fields=["day"], name="mail_count_day")],
                "constraints": [
                    models.UniqueConstraint(fields=("mailbox", "day", "allowance"), name="mail_count_once"),
                    models.CheckConstraint(
                        condition=models.Q(("allowance__in", ["notices", "codes", "links", "security"])),
                        name="mail_count_allowance",
                    ),
                ],
            },
        ),
    ]
