from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0007_known_addresses")]

    operations = [
        migrations.AddField("user", "days_moving_since", models.DateTimeField(null=True)),
    ]
