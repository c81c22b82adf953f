"""Reads of categories."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from duely.core.actor import Actor
from duely.core.permissions import Permission, require
from duely.database.compiled import Seen
from duely.tasks.models import LIVE, Category, Task


def own_category_ids(actor: Actor, texts: Sequence[str]) -> list[UUID]:
    """Those of the actor's own categories whose ids are among these texts. Raises Forbidden (403)."""
    require(actor, Permission.CATEGORY_VIEW)
    return list(Category.objects.filter(owner_id=actor.user_id, pk__in=texts).values_list("pk", flat=True))


def all_categories() -> QuerySet[Any]:
    """Everyone's categories, each with its `task_count`."""
    return with_task_count(Category.objects.all())


def seen_categories(actor: Actor) -> Seen:
    """The categories that this actor may see. Raises Forbidden (403)."""
    require(actor, Permission.CATEGORY_VIEW)
    return Seen(all_categories, () if actor.sees_all else (("owner_id", actor.user_id),))


def with_task_count(categories: QuerySet[Category]) -> QuerySet[Any]:
    """Adds `task_count`: the tasks in each that are not in the trash."""
    inside = Task.objects.filter(LIVE, category=OuterRef("pk")).order_by().values("category")
    counted = inside.annotate(number=Count("*")).values("number")
    return categories.annotate(task_count=Coalesce(Subquery(counted, output_field=IntegerField()), 0))
