"""Django's view of this module."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class AccountsConfig(AppConfig):
    """Users, roles, sign-in and sessions."""

    name = "duely.accounts"
    default = True

    def ready(self) -> None:
        """Answer what the mail module asks about addresses."""
        from duely.accounts.directory import Directory
        from duely.mail import recipients

        recipients.register(Directory())


class AdminConfig(admin_apps.AdminConfig):
    """Django's admin with our own site. In INSTALLED_APPS it takes the place of `django.contrib.admin`."""

    default = False
    default_site = "duely.accounts.site.Site"
