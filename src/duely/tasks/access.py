"""From ids to objects, or a refusal. What an actor may not see does not exist for them."""

from uuid import UUID

from django.db.models import Exists, OuterRef, Value

from duely.accounts.access import require
from duely.accounts.models import User
from duely.accounts.rules import Permission
from duely.core.actor import Actor
from duely.core.errors import FieldError, NotFound, ValidationFailed
from duely.tasks.models import Category, Task
from duely.tasks.queries import visible_categories, visible_tasks, with_zone


def task_for(actor: Actor, task_id: UUID) -> Task:
    """A task to look at. Raises NotFound (404), Forbidden (403)."""
    task = visible_tasks(actor).filter(pk=task_id).first()
    if task is None:
        raise NotFound("There is no such task.")
    require(actor, Permission.TASK_VIEW)
    return task


def locked_task_for(actor: Actor, task_id: UUID, *, category_id: UUID | None = None) -> Task:
    """A task to change, locked until the transaction ends, with `zone`, its owner's time zone.

    category_id: a category that the task is to get; checked in the same statement, so that it costs no
    round trip. Raises NotFound (404), Forbidden (403), ValidationFailed (400) for a category that is
    not the owner's.
    """
    theirs = Category.objects.filter(pk=category_id, owner_id=OuterRef("owner_id")) if category_id else None
    found = (
        with_zone(visible_tasks(actor))
        .annotate(category_fits=Exists(theirs) if theirs is not None else Value(True))
        .select_for_update(of=("self",))
        .filter(pk=task_id)
        .first()
    )
    if found is None:
        raise NotFound("There is no such task.")
    require(actor, Permission.TASK_EDIT)
    if not found.category_fits:
        raise no_such_category()
    task: Task = found
    return task


def require_category(owner_id: UUID, category_id: UUID) -> None:
    """Raises ValidationFailed (400) unless the owner has this category."""
    if not Category.objects.filter(pk=category_id, owner_id=owner_id).exists():
        raise no_such_category()


def no_such_category() -> ValidationFailed:
    """The refusal of a category that is not there, or not theirs: one answer for both."""
    return ValidationFailed(FieldError("category", "not_found", "There is no such category."))


def category_for(actor: Actor, category_id: UUID, *, lock: bool = False) -> Category:
    """A category with its `task_count`; with `lock`, to change it. Raises NotFound (404), Forbidden (403)."""
    categories = visible_categories(actor).filter(pk=category_id)
    category = (categories.select_for_update(of=("self",)) if lock else categories).first()
    if category is None:
        raise NotFound("There is no such category.")
    require(actor, Permission.CATEGORY_EDIT if lock else Permission.CATEGORY_VIEW)
    return category


def owner_for(actor: Actor, owner_id: UUID | None) -> tuple[UUID, str]:
    """(id, time zone) of the one who is to own a new task: the actor, or for an admin whom they name.

    Raises Forbidden (403) for others who name someone else, ValidationFailed (400) for an unknown user.
    """
    if owner_id is None or owner_id == actor.user_id:
        return actor.user_id, actor.zone
    require(actor, Permission.TASK_CREATE_FOR_OTHERS)
    zone = User.objects.filter(pk=owner_id).values_list("time_zone", flat=True).first()
    if zone is None:
        raise ValidationFailed(FieldError("owner", "not_found", "There is no such user."))
    return owner_id, zone
