"""How Django's own pages, which are the admin, know users."""

from typing import Any
from uuid import UUID

from django.contrib.auth.backends import BaseBackend
from django.http import HttpRequest

from duely.accounts import actions, queries
from duely.accounts.models import User
from duely.core import clock
from duely.core.actor import Actor, Origin, anonymous


class AdminBackend(BaseBackend):
    """Sign-in to the admin: the same check and the same entries in the change log as in the API. Admins only."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> User | None:
        """The admin of this name or address, whose password this is.

        Raises EmailNotVerified and RateLimited, whose sentences the page shows.
        """
        if not username or password is None:
            return None
        try:
            return actions.sign_in_to_admin(
                actor=anonymous(origin_of(request)), login=username, password=password, now=clock.now()
            )
        except actions.InvalidCredentials as refused:
            if request is not None:
                request.looks_like_attack = refused.looks_like_attack  # type: ignore[attr-defined]
            return None

    def get_user(self, user_id: UUID) -> User | None:
        """An admin, for each request with a session of theirs: who is demoted or deactivated is out at once."""
        return queries.admin_by_id(user_id)


def origin_of(request: HttpRequest | None) -> Origin:
    """Where a request came from, as the guard found out."""
    origin = getattr(request, "origin", None)
    return origin if isinstance(origin, Origin) else Origin()


def admin_actor(request: HttpRequest) -> Actor:
    """The admin who uses the admin's pages, as an actor."""
    user = request.user
    if not isinstance(user, User):
        raise TypeError("the admin's pages need someone who has signed in")
    return Actor(
        id=user.id,
        name=user.username,
        role=user.role,
        session_id=None,
        zone=user.time_zone,
        origin=origin_of(request),
    )
