"""`duely createadmin`, and the first administrator that `duely serve` creates."""

import getpass
import secrets
import sys

from duely.cli.exits import Exit, Failure
from duely.cli.migrate import only_one_at_a_time, setup
from duely.cli.screen import NewAdmin
from duely.core.errors import Refused

# No letters or digits that look alike.
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
GROUPS, GROUP_LENGTH = 4, 5
DEFAULT_USERNAME = "admin"


def createadmin(*, username: str | None, email: str | None, generate: bool, if_none: bool = False) -> None:
    """Create an administrator. The password comes from ADMIN_PASSWORD or a prompt, or it is generated and printed.

    if_none: do nothing if there is one. If several nodes call this at the same time, only one creates it.
    """
    setup()
    if not if_none:
        _make(username, email, generate=generate)
        return
    from duely.accounts.queries import has_admin

    with only_one_at_a_time():
        if has_admin():
            print("There is an administrator already; nothing was changed.")
        else:
            _make(username, email, generate=generate)


def _make(username: str | None, email: str | None, *, generate: bool) -> None:
    from django.conf import settings

    username = username or settings.ADMIN_USERNAME or _ask("Username", DEFAULT_USERNAME)
    email = email or settings.ADMIN_EMAIL or _ask("E-mail address", default_email(username))
    chosen = None if generate else settings.ADMIN_PASSWORD or _ask_password()
    password = chosen or made_up_password()
    _create(username, email, password)
    print(f"{username} is an administrator now.")
    if not chosen:
        print(f"Password: {password}   (shown only now)")


def create_from_settings() -> NewAdmin:
    """Create the first administrator from ADMIN_*. Without ADMIN_PASSWORD the password is generated."""
    from django.conf import settings

    username = settings.ADMIN_USERNAME or DEFAULT_USERNAME
    chosen = settings.ADMIN_PASSWORD
    password = chosen or made_up_password()
    _create(username, settings.ADMIN_EMAIL or default_email(username), password)
    return NewAdmin(username, None if chosen else password)


def made_up_password() -> str:
    """A random password of 99 bits that can be read aloud."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(GROUP_LENGTH)) for _ in range(GROUPS))


def default_email(username: str) -> str:
    """An address that cannot exist, for an administrator without one (RFC 2606, section 2)."""
    return f"{username}@localhost.invalid"


def _create(username: str, email: str, password: str) -> None:
    from duely.accounts.actions import create_admin
    from duely.core.clock import now

    try:
        create_admin(username=username, email=email, password=password, now=now())
    except Refused as refusal:
        faults = " ".join(f"{fault.field}: {fault.message}" for fault in refusal.errors)
        raise Failure(f"the administrator could not be made. {faults or refusal.detail}") from None


def _ask(question: str, default: str) -> str:
    if not sys.stdin.isatty():
        return default
    return input(f"{question} [{default}]: ").strip() or default


def _ask_password() -> str | None:
    """The password from a prompt; None without a terminal or for an empty answer."""
    if not sys.stdin.isatty():
        return None
    first = getpass.getpass("Password (empty: make one up): ")
    if first and getpass.getpass("Password again: ") != first:
        raise Failure("the two passwords differ; nothing was changed.", Exit.WRONG_USE)
    return first or None
