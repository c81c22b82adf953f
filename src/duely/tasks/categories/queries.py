"""Reads of categories."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from duely.core.actor import Actor
from duely.core.permissions import Permission
from duely.core.scopes import own_scope, scope
from duely.database.compiled import Visible, within
from duely.tasks.models import LIVE, Category, Task


def own_category_ids(actor: Actor, texts: Sequence[str]) -> list[UUID]:
    """Those of the actor's own categories whose ids are among these texts. Raises Forbidden (403)."""
    own = own_scope(actor, Permission.CATEGORY_VIEW)
    return list(within(Category.objects.filter(pk__in=texts), own).values_list("pk", flat=True))


def all_categories() -> QuerySet[Any]:
    """Everyone's categories, each with its `task_count`."""
    return with_task_count(Category.objects.all())


def visible_categories(actor: Actor) -> Visible:
    """The categories that this actor may see. Raises Forbidden (403)."""
    return Visible(all_categories, scope(actor, Permission.CATEGORY_VIEW))


def with_task_count(categories: QuerySet[Category]) -> QuerySet[Any]:
    """Adds `task_count`: the tasks in each that are not in the trash."""
    inside = Task.objects.filter(LIVE, category=OuterRef("pk")).order_by().values("category")
    counted = inside.annotate(number=Count("*")).values("number")
    return categories.annotate(task_count=Coalesce(Subquery(counted, output_field=IntegerField()), 0))
