"""Who sees what: the only source of the condition that limits rows to those a caller may see (decision 0045)."""

from typing import Any
from uuid import UUID

import msgspec

from duely.core.actor import Actor
from duely.core.permissions import Permission, allows, require


class Everything(msgspec.Struct, frozen=True):
    """The objects of all users."""

    def conditions(self, column: str = "owner_id") -> tuple[tuple[str, Any], ...]:
        """What rows must meet, as lookups and values. column: the one with the owner's id."""
        return ()

    def sql(self) -> tuple[str, tuple[UUID, ...]]:
        """A condition on `owner_id` in SQL that begins with AND, and its values."""
        return "", ()

    def covers(self, owner_id: UUID) -> bool:
        """Whether an object of this owner is within the scope."""
        return True


class Owned(msgspec.Struct, frozen=True):
    """The objects of one user."""

    user_id: UUID

    def conditions(self, column: str = "owner_id") -> tuple[tuple[str, Any], ...]:
        """As of `Everything`."""
        return ((column, self.user_id),)

    def sql(self) -> tuple[str, tuple[UUID, ...]]:
        """As of `Everything`."""
        return "AND owner_id = %s", (self.user_id,)

    def covers(self, owner_id: UUID) -> bool:
        """As of `Everything`."""
        return owner_id == self.user_id


Scope = Everything | Owned
"""A closed type: mypy names every place that has to know another kind of scope."""

EVERYTHING = Everything()


def scope(actor: Actor, permission: Permission) -> Scope:
    """The objects that this permission lets the actor reach.

    Raises Forbidden (403) for a role without the permission, NotAuthenticated (401).
    """
    require(actor, permission)
    return EVERYTHING if allows(actor.role, Permission.SEE_ALL) else Owned(actor.user_id)


def own_scope(actor: Actor, permission: Permission) -> Owned:
    """The actor's own objects, for operations that reach no others whatever the role: statistics, export, import.

    Raises Forbidden (403) for a role without the permission, NotAuthenticated (401).
    """
    require(actor, permission)
    return Owned(actor.user_id)
