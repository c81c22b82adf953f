"""Django's view of this module."""

from django.apps import AppConfig


class GuardConfig(AppConfig):
    """What stands in front of every request."""

    name = "duely.guard"
