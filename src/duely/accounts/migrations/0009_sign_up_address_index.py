from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0008_days_moving_since"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="signup",
            index=models.Index(fields=["email_key"], name="accounts_signup_email"),
        ),
    ]
