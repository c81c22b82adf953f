"""Links to unsubscribe from mails of one kind. They need no sign-in and do not expire."""

from uuid import UUID

from django.core.signing import BadSignature, Signer
from django.urls import reverse

from duely.notifications.rules import Kind

_SALT = "duely.notifications.unsubscribe"


def path(kind: Kind, user_id: UUID) -> str:
    """The path of the link to unsubscribe a user from mails of this kind."""
    return reverse("unsubscribe", args=[_signer().sign(f"{kind.value}.{user_id}")])


def read(token: str) -> tuple[Kind, UUID] | None:
    """The kind and the user of a link, or None if its signature is not ours."""
    try:
        kind, _, user_id = _signer().unsign(token).partition(".")
    except BadSignature:
        return None
    return Kind(kind), UUID(user_id)


def _signer() -> Signer:
    return Signer(salt=_SALT)
