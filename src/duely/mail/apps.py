"""The Django app of this module."""

from django.apps import AppConfig


class MailConfig(AppConfig):
    """Rendering, limits and sending of mails."""

    name = "duely.mail"
