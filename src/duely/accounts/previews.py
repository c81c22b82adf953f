"""The mails of accounts with made-up contents, to look at."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from duely.accounts import mails
from duely.accounts.models import Code, SignUp, User
from duely.accounts.rules import Purpose
from duely.activity.models import Change
from duely.mail.messages import Mail

AT = datetime(2026, 12, 1, 14, 30, tzinfo=UTC)
CHANGES = {
    "auth.password_changed": {},
    "auth.password_reset": {"sessions": [2, 0]},
    "user.deactivated": {"is_active": [True, False]},
    "user.email_changed": {
        "email": ["ada@example.org", "ada@example.com"],
        "email_verified": [True, True],
        "has_password": [True, False],
    },
    "user.email_verified": {"email_verified": [False, True], "sessions": [1, 0], "has_password": [True, False]},
    "user.role_changed": {"role": ["member", "admin"]},
}
_ID = UUID(int=0)


def previews() -> Iterator[tuple[str, Mail]]:
    """(name, mail) of each kind."""
    address = "ada@example.org"
    reader = User(
        id=_ID, username="ada", email=address, email_key=address, email_verified=True, time_zone="Europe/London"
    )
    for purpose in (Purpose.SIGN_IN, Purpose.RESET):
        yield f"account_code.{purpose}", mails.code_mail(_code(purpose), purpose, reader)
    for purpose in (Purpose.VERIFY_EMAIL, Purpose.CHANGE_EMAIL):
        yield f"account_link.{purpose}", mails.code_link(_code(purpose), purpose, reader)
    kept = SignUp(id=_ID, username="ada", email=reader.email)
    yield f"account_link.{Purpose.SIGN_UP}", mails.sign_up_link(kept)
    yield "account_known", mails.known_mail(kept, reader)
    for action, changes in CHANGES.items():
        change = Change(id=_ID, action=action, at=AT, changes=changes, ip="192.0.2.7", user_agent="Firefox 150")
        yield (
            f"account_change.{action.replace('.', '_')}",
            mails.change_mail(reader, change, reader.email, str(change.id), is_proven=True),
        )


def _code(purpose: Purpose) -> Code:
    return Code(
        id=_ID, purpose=purpose.value, email="ada@example.org", created_at=AT, expires_at=AT + timedelta(minutes=5)
    )
