"""Django's view of this module."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    """The base of all endpoints."""

    name = "duely.api"
