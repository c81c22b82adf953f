"""Reads of tasks and categories."""

from typing import Any

from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from duely.core.actor import Actor
from duely.tasks.models import LIVE, Category, Task


def any_tasks() -> bool:
    """Whether there is any task at all, in anyone's hands or in the trash."""
    return Task.objects.exists()


def visible_tasks(actor: Actor) -> QuerySet[Task]:
    """The tasks that this actor may see, without those in the trash."""
    tasks = Task.objects.filter(LIVE)
    return tasks if actor.sees_all else tasks.filter(owner_id=actor.user_id)


def visible_categories(actor: Actor) -> QuerySet[Category]:
    """The categories that this actor may see, each with its `task_count`."""
    categories = with_task_count(Category.objects.all())
    return categories if actor.sees_all else categories.filter(owner_id=actor.user_id)


def with_task_count(categories: QuerySet[Category]) -> QuerySet[Any]:
    """Adds `task_count`: the tasks in each that are not in the trash."""
    inside = Task.objects.filter(LIVE, category=OuterRef("pk")).order_by().values("category")
    counted = inside.annotate(number=Count("pk")).values("number")
    return categories.annotate(task_count=Coalesce(Subquery(counted, output_field=IntegerField()), 0))
