"""Django's view of this module."""

from django.apps import AppConfig


class MailConfig(AppConfig):
    """Mails: how they look, and the one way to send them."""

    name = "duely.mail"
