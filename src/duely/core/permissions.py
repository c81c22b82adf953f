"""Who may do what: roles, permissions, and the one table that joins them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Self

from duely.core.actor import Actor
from duely.core.errors import Forbidden


class Role(StrEnum):
    """The role of a user. Case does not matter in requests."""

    ADMIN = "admin"
    MEMBER = "member"
    INTERN = "intern"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        lowered = value.lower() if isinstance(value, str) else None
        return next((role for role in cls if role.value == lowered), None)


class Permission(StrEnum):
    """One thing that a role may allow. `duely.core.scopes` says to which objects it applies."""

    SEE_ALL = "see_all"
    TASK_VIEW = "task_view"
    TASK_EDIT = "task_edit"
    TASK_CREATE_FOR_OTHERS = "task_create_for_others"
    CATEGORY_VIEW = "category_view"
    CATEGORY_EDIT = "category_edit"
    LOG_VIEW = "log_view"
    LOG_VIEW_ORIGINS = "log_view_origins"
    PROFILE_EDIT = "profile_edit"
    SESSION_END = "session_end"
    USER_VIEW = "user_view"
    USER_LIST = "user_list"
    USER_MANAGE = "user_manage"
    BAN_MANAGE = "ban_manage"


_OWN = frozenset(
    {
        Permission.TASK_VIEW,
        Permission.TASK_EDIT,
        Permission.CATEGORY_VIEW,
        Permission.CATEGORY_EDIT,
        Permission.LOG_VIEW,
        Permission.PROFILE_EDIT,
        Permission.SESSION_END,
        Permission.USER_VIEW,
    }
)
ALLOWED: Final[Mapping[str, frozenset[Permission]]] = {
    Role.INTERN.value: _OWN,
    Role.MEMBER.value: _OWN,
    Role.ADMIN.value: frozenset(Permission),
}
"""The one table of permissions. A role that is not in it may do nothing."""


def allows(role: str, permission: Permission) -> bool:
    """Whether this role has this permission."""
    return permission in ALLOWED.get(role, ())


def require(actor: Actor, permission: Permission) -> None:
    """Raises Forbidden (403) unless the actor's role allows this."""
    if not allows(actor.role, permission):
        raise Forbidden("Your role does not allow this.")
