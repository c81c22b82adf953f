from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_sign_ups")]

    operations = [
        migrations.AddField(model_name="user", name="mail_paused_until", field=models.DateTimeField(null=True)),
    ]
