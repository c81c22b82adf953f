"""From ids to objects, or a refusal. What an actor may not see does not exist for them."""

from uuid import UUID

from django.db.models import Exists, OuterRef, Subquery, Value
from django.db.models.expressions import Combinable

from duely.accounts.access import require
from duely.accounts.models import User
from duely.accounts.rules import Permission
from duely.core.actor import Actor
from duely.core.errors import FieldError, NotFound, ValidationFailed
from duely.tasks.models import Category, Task
from duely.tasks.queries import visible_categories, visible_tasks


def task_for(actor: Actor, task_id: UUID) -> Task:
    """A task to look at. Raises NotFound (404), Forbidden (403)."""
    task = visible_tasks(actor).filter(pk=task_id).first()
    if task is None:
        raise NotFound("There is no such task.")
    require(actor, Permission.TASK_VIEW)
    return task


def locked_task_for(actor: Actor, task_id: UUID, *, category_id: UUID | None = None) -> Task:
    """A task to change, locked until the transaction ends, with `zone`, its owner's time zone.

    category_id: a category that the task is to get. Owner and category are locked too, before the task, in the
    same statement: neither can the zone change nor the category go while the task is written.
    Raises NotFound (404), Forbidden (403), ValidationFailed (400) for a category that is not the owner's.
    """
    owner = User.objects.select_for_update(no_key=True).filter(pk=OuterRef("owner_id"))
    found = (
        visible_tasks(actor)
        .annotate(zone=Subquery(owner.values("time_zone")), category_fits=_fits(category_id, OuterRef("owner_id")))
        .select_for_update(of=("self",), no_key=True)
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


def owner_for(actor: Actor, owner_id: UUID | None, *, category_id: UUID | None = None) -> tuple[UUID, str]:
    """(id, time zone) of the one who is to own something new, locked as in `locked_task_for`.

    That is the actor, or for an admin whom they name. category_id: the category that it is to get.
    Raises Forbidden (403) for others who name someone else, ValidationFailed (400) for an unknown user or a
    category that is not the owner's.
    """
    wanted = owner_id or actor.user_id
    if wanted != actor.user_id:
        require(actor, Permission.TASK_CREATE_FOR_OTHERS)
    owners = User.objects.select_for_update(no_key=True).filter(pk=wanted)
    found = owners.annotate(fits=_fits(category_id, OuterRef("pk"))).values_list("time_zone", "fits").first()
    if found is None:
        raise ValidationFailed(FieldError("owner", "not_found", "There is no such user."))
    zone, fits = found
    if not fits:
        raise no_such_category()
    return wanted, zone


def _fits(category_id: UUID | None, owner_id: OuterRef) -> Combinable:
    """Whether the owner has this category, which is locked with it. No category always fits."""
    if category_id is None:
        return Value(True)
    theirs = Category.objects.select_for_update(no_key=True).filter(pk=category_id, owner_id=owner_id)
    return Exists(theirs)


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
