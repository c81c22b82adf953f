"""From ids to objects, or a refusal. What an actor may not see does not exist for them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Value
from django.db.models.expressions import Combinable

from duely.accounts.models import User
from duely.core.actor import Actor
from duely.core.errors import FieldError, NotFound, ValidationFailed
from duely.core.permissions import Permission, require
from duely.core.scopes import Owned, own_scope
from duely.database.compiled import Row, within
from duely.tasks.categories.queries import visible_categories
from duely.tasks.models import Category, Task
from duely.tasks.queries import (
    ids_taken,
    locked_task,
    unlocked_task,
    visible_task,
    visible_tasks,
    visible_trash,
    with_locked_zone,
)


def task_for(actor: Actor, task_id: UUID) -> Row:
    """TASK_COLUMNS of a task to look at, instants as answers show them. Raises NotFound (404), Forbidden (403)."""
    task = visible_task(actor, task_id)
    if task is None:
        raise NotFound("There is no such task.")
    return task


def unlocked_task_for(actor: Actor, task_id: UUID) -> Task:
    """A task to change, if nobody else does meanwhile. Raises NotFound (404), Forbidden (403)."""
    task = unlocked_task(actor, task_id)
    if task is None:
        raise NotFound("There is no such task.")
    require(actor, Permission.TASK_EDIT)
    return task


def locked_task_for(actor: Actor, task_id: UUID, *, category_id: UUID | None = None) -> Task:
    """A task to change, locked until the transaction ends, with `zone`, its owner's time zone.

    category_id: a category that the task is to get. Owner and category are locked too, before the task, in the
    same statement: neither can the zone change nor the category go while the task is written.
    Raises NotFound (404), Forbidden (403), ValidationFailed (400) for a category that is not the owner's.
    """
    found = locked_task(actor, task_id) if category_id is None else _with_category(actor, task_id, category_id)
    if found is None:
        raise NotFound("There is no such task.")
    require(actor, Permission.TASK_EDIT)
    if category_id is not None and not found.category_fits:  # type: ignore[union-attr]
        raise no_such_category()
    task: Task = found
    return task


def _with_category(actor: Actor, task_id: UUID, category_id: UUID) -> Any:
    tasks = with_locked_zone(visible_tasks(actor).rows())
    return tasks.annotate(category_fits=_fits(category_id, OuterRef("owner_id"))).filter(pk=task_id).first()


def trashed_task_for(actor: Actor, task_id: UUID) -> Task:
    """A task to take out of the trash, also one that is not in it, locked. Raises NotFound (404), Forbidden (403)."""
    tasks = visible_tasks(actor).rows() | visible_trash(actor).rows()
    task: Task | None = tasks.select_for_update(no_key=True).filter(pk=task_id).first()
    if task is None:
        raise NotFound("There is no such task.")
    require(actor, Permission.TASK_EDIT)
    return task


@dataclass(frozen=True, slots=True)
class Locked:
    """What many changes at once are about, locked until the transaction ends.

    zones: the time zones of the owners by their ids; owners: those of categories by the categories' ids.
    """

    zones: Mapping[UUID, str]
    owners: Mapping[UUID, UUID]
    tasks: dict[UUID, Task]

    def zone_for(self, actor: Actor, owner_id: UUID) -> str:
        """As `owner_for`: the zone of the one who is to own something new."""
        if owner_id != actor.id:
            require(actor, Permission.TASK_CREATE_FOR_OTHERS)
        if owner_id not in self.zones:
            raise no_such_owner()
        return self.zones[owner_id]

    def task_for(self, task_id: UUID | None) -> Task:
        """One of the tasks. Raises NotFound (404)."""
        task = self.tasks.get(task_id) if task_id else None
        if task is None or task.deleted_at is not None:
            raise NotFound("There is no such task.")
        return task

    def check_category(self, category_id: UUID | None, owner_id: UUID) -> None:
        """Raises ValidationFailed (400) for a category that is not the owner's."""
        if category_id is not None and self.owners.get(category_id) != owner_id:
            raise no_such_category()


def lock_for_changes(
    actor: Actor, *, owners: Collection[UUID], tasks: Collection[UUID], categories: Collection[UUID]
) -> Locked:
    """Lock what an actor wants to change at once: owners, then categories, then tasks, as everywhere, each by its id.

    What is not theirs, or not there, is not among it. Raises Forbidden (403).
    """
    require(actor, Permission.TASK_EDIT)
    visible = visible_tasks(actor)
    wanted = {actor.user_id, *filter(visible.scope.covers, owners)}
    if tasks and not isinstance(visible.scope, Owned):  # the owner of one's own tasks is known already
        wanted |= set(visible.rows().filter(pk__in=tasks).values_list("owner_id", flat=True))
    people = User.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk")
    zones = dict(people.values_list("pk", "time_zone"))
    drawers: dict[UUID, UUID] = {}
    if categories:
        theirs = Category.objects.filter(owner_id__in=zones)  # allow: own_visibility because these owners are locked
        theirs = theirs.filter(pk__in=categories).order_by("pk")
        drawers = dict(theirs.select_for_update(no_key=True).values_list("pk", "owner_id"))
    found = {}
    if tasks:
        theirs_too = visible.rows().filter(owner_id__in=zones)  # allow: own_visibility because these owners are locked
        theirs_too = theirs_too.filter(pk__in=tasks).order_by("pk")
        found = {task.id: task for task in theirs_too.select_for_update(no_key=True)}
    return Locked(zones, drawers, found)


@dataclass(frozen=True, slots=True)
class Places:
    """Where what comes in from a file would go.

    tasks: the actor's own by their ids, those in the trash too; taken: ids that others have; categories: those that
    are still there. zone: the actor's.
    """

    zone: str
    tasks: Mapping[UUID, Task]
    taken: frozenset[UUID]
    categories: Collection[UUID]


def places_for(actor: Actor, tasks: Collection[UUID], categories: Collection[UUID], *, lock: bool) -> Places:
    """The places of tasks with these ids in these categories of the actor's, who brings in their own.

    With `lock`, they stay so until the transaction ends. Without it, all categories count as there: they may be yet
    to come. Raises Forbidden (403).
    """
    own = own_scope(actor, Permission.TASK_EDIT)
    mine = within(Task.objects.filter(pk__in=tasks), own).order_by("pk")
    if lock:
        zone = _locked_zone(actor)
        categories = _locked_drawers(own, categories)
        mine = mine.select_for_update(no_key=True)
    else:
        zone = User.objects.values_list("time_zone", flat=True).get(pk=actor.user_id)
    return Places(zone, {task.id: task for task in mine}, ids_taken(Task, tasks, actor), categories)


def own_categories(actor: Actor, *, lock: bool) -> list[Category]:
    """The actor's own categories. With `lock`, they stay as they are. Raises Forbidden (403)."""
    mine = within(Category.objects.all(), own_scope(actor, Permission.CATEGORY_EDIT)).order_by("pk")
    if lock:
        _locked_zone(actor)
        mine = mine.select_for_update()
    return list(mine)


def _locked_zone(actor: Actor) -> str:
    owner = User.objects.select_for_update(no_key=True)
    return str(owner.values_list("time_zone", flat=True).get(pk=actor.user_id))


def _locked_drawers(own: Owned, categories: Collection[UUID]) -> Collection[UUID]:
    theirs = within(Category.objects.filter(pk__in=categories), own).order_by("pk")
    return set(theirs.select_for_update(no_key=True).values_list("pk", flat=True)) if categories else ()


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
        raise no_such_owner()
    zone, fits = found
    if not fits:
        raise no_such_category()
    return wanted, zone


def _fits(category_id: UUID | None, owner_id: OuterRef) -> Combinable:
    """Whether the owner has this category, which is locked with it. No category always fits."""
    if category_id is None:
        return Value(True)
    theirs = Category.objects.filter(owner_id=owner_id)  # allow: own_visibility because both have the same owner
    return Exists(theirs.select_for_update(no_key=True).filter(pk=category_id))


def no_such_owner() -> ValidationFailed:
    """The refusal of an owner who is not there."""
    return ValidationFailed(FieldError("owner", "not_found", "There is no such user."))


def no_such_category() -> ValidationFailed:
    """The refusal of a category that is not there, or not theirs: one answer for both."""
    return ValidationFailed(FieldError("category", "not_found", "There is no such category."))


def category_for(actor: Actor, category_id: UUID, *, lock: bool = False) -> Category:
    """A category with its `task_count`; with `lock`, to change it. Raises NotFound (404), Forbidden (403)."""
    categories = visible_categories(actor).rows().filter(pk=category_id)
    category: Category | None = (categories.select_for_update(of=("self",)) if lock else categories).first()
    if category is None:
        raise NotFound("There is no such category.")
    require(actor, Permission.CATEGORY_EDIT if lock else Permission.CATEGORY_VIEW)
    return category
