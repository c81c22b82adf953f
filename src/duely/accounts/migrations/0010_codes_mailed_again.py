from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0009_sign_up_address_index")]

    operations = [
        migrations.AddField(model_name="code", name="guesses", field=models.JSONField(null=True)),
        migrations.AddField(model_name="code", name="mails", field=models.SmallIntegerField(db_default=1, default=1)),
        migrations.AddField(
            model_name="code", name="is_long", field=models.BooleanField(db_default=False, default=False)
        ),
        migrations.AddField(model_name="code", name="replaced_at", field=models.DateTimeField(null=True)),
        migrations.RemoveConstraint(model_name="code", name="accounts_code_of_address"),
        migrations.AddConstraint(
            model_name="code",
            constraint=models.UniqueConstraint(
                condition=models.Q(ended_at__isnull=True, replaced_at__isnull=True, user__isnull=True),
                fields=("email_key", "purpose"),
                name="accounts_code_of_address",
            ),
        ),
    ]
