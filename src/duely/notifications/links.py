"""Links that end mails of one kind, for whoever holds the mail: no sign-in, no expiry."""

from uuid import UUID

from django.core.signing import BadSignature, Signer
from django.urls import reverse

from duely.notifications.rules import Kind

_SALT = "duely.notifications.unsubscribe"


def path(kind: Kind, user_id: UUID) -> str:
    """The path of the link that ends this user's mails of this kind."""
    return reverse("unsubscribe", args=[_signer().sign(f"{kind.value}.{user_id}")])


def read(token: str) -> tuple[Kind, UUID] | None:
    """What a link stands for; None for one that is not ours."""
    try:
        kind, _, user_id = _signer().unsign(token).partition(".")
    except BadSignature:
        return None
    return Kind(kind), UUID(user_id)


def _signer() -> Signer:
    return Signer(salt=_SALT)
