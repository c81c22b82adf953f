"""From ids to bans, or a refusal. Bans are the admins' business alone."""

from uuid import UUID

from duely.core.actor import Actor
from duely.core.errors import NotFound
from duely.core.permissions import Permission, require
from duely.guard.models import Ban
from duely.guard.queries import visible_bans


def require_management(actor: Actor) -> None:
    """Raises Forbidden (403) unless the actor may manage bans."""
    require(actor, Permission.BAN_MANAGE)


def ban_for(actor: Actor, ban_id: UUID, *, lock: bool = False) -> Ban:
    """A ban; with `lock`, to change it. Raises NotFound (404), also for who may not see any."""
    bans = visible_bans(actor).filter(pk=ban_id)
    ban = (bans.select_for_update(no_key=True) if lock else bans).first()
    if ban is None:
        raise NotFound("There is no such ban.")
    return ban
