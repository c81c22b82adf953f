"""The Django app of this module."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """The durable queue and the schedules."""

    name = "duely.jobs"
