"""The Django app of this module."""

from django.apps import AppConfig


class ActivityConfig(AppConfig):
    """The change log."""

    name = "duely.activity"
    default_auto_field = "django.db.models.BigAutoField"
