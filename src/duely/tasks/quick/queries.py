"""Reads a line of text with the categories and the time zone of its author."""

from datetime import datetime

from duely.core.actor import Actor
from duely.core.permissions import Permission, require
from duely.core.scopes import own_scope
from duely.database.compiled import within
from duely.tasks.models import Category
from duely.tasks.quick import Understood, category_names, understand


def understood(actor: Actor, text: str, now: datetime) -> Understood:
    """The task that a line of text stands for, with the actor's own categories and in their time zone.

    Raises Forbidden (403).
    """
    require(actor, Permission.TASK_EDIT)
    own = own_scope(actor, Permission.CATEGORY_VIEW)
    names = {name for each in category_names(text).values() for _, name in each}
    mine = within(Category.objects.filter(name_key__in=names), own) if names else Category.objects.none()
    return understand(text, dict(mine.values_list("name_key", "id")), now, actor.zone)
