"""The Django app of this module."""

from django.apps import AppConfig


class WebConfig(AppConfig):
    """The web page."""

    name = "duely.web"
