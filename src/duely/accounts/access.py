"""From ids to users and sessions, or a refusal. What an actor may not see does not exist for them."""

from datetime import datetime
from uuid import UUID

from duely.accounts.models import Session, User
from duely.accounts.queries import live_sessions, visible_users
from duely.core.actor import Actor
from duely.core.errors import NotFound
from duely.core.permissions import Permission, require
from duely.core.scopes import scope


def user_for(actor: Actor, user_id: UUID) -> User:
    """A user to look at. Raises NotFound (404), Forbidden (403)."""
    user = visible_users(actor).filter(pk=user_id).first()
    if user is None:
        raise NotFound("There is no such user.")
    return user


def require_management(actor: Actor, user_id: UUID) -> None:
    """Raises NotFound (404) or, for oneself, Forbidden (403), unless the actor may change users. Reads nothing."""
    if not scope(actor, Permission.USER_VIEW).covers(user_id):
        raise NotFound("There is no such user.")
    require(actor, Permission.USER_MANAGE)


def session_for(actor: Actor, session_id: UUID, now: datetime) -> Session:
    """One of the actor's own live sessions, to end it. Raises NotFound (404), Forbidden (403)."""
    session = live_sessions(actor.user_id, now).filter(pk=session_id).first()
    if session is None:
        raise NotFound("There is no such session.")
    require(actor, Permission.SESSION_END)
    return session
