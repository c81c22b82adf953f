"""`duely manage changepassword`, in place of Django's, which would change the row alone."""

import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from duely.accounts import actions, queries
from duely.core import clock
from duely.core.errors import Refused


class Command(BaseCommand):
    """Sets a user's password as the API does: recorded, and everything that gave access to the account ends."""

    help = "Set the password of a user, and sign them out everywhere."
    requires_migrations_checks = True

    def add_arguments(self, parser: CommandParser) -> None:
        """The user."""
        parser.add_argument("username", help="name or e-mail address of the user")

    def handle(self, *_: Any, username: str, **__: Any) -> None:
        """Ask for the new password twice, and set it."""
        user = queries.user_by_login(username)
        if user is None:
            raise CommandError(f"There is no user {username!r}.")
        password = getpass.getpass("New password: ")
        if getpass.getpass("New password again: ") != password:
            raise CommandError("The two passwords differ. Nothing was changed.")
        try:
            actions.set_password(user=user, new_password=password, now=clock.now())
        except Refused as refused:
            raise CommandError(" ".join(error.message for error in refused.errors) or refused.detail) from None
        self.stdout.write(f"{user.username} has a new password and is signed out everywhere.")
