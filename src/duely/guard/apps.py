"""The Django app of this module."""

from django.apps import AppConfig


class GuardConfig(AppConfig):
    """Rate limits and bans, checked before each request."""

    name = "duely.guard"
