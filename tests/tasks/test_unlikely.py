"""Faults that no request can cause, and that are no one's mistake: they surface."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError

from cast import alice
from duely.activity.models import Change
from duely.core.actor import Actor, Origin
from duely.core.clock import now
from duely.core.errors import Forbidden, NotFound
from duely.core.ids import new_id
from duely.core.permissions import ALLOWED, Permission
from duely.tasks import access, actions
from duely.tasks.models import Category, Task
from duely.tasks.rules import Verb


def stranger(role: str = "member", user_id: Any = None) -> Actor:
    return Actor(id=user_id or new_id(), name="x", role=role, session_id=None, zone="UTC", origin=Origin())


def test_a_broken_constraint_that_has_no_name_stays_a_fault(committed_db: None) -> None:
    someone = stranger(user_id=alice().id)
    for fields in ({"title": ""}, {"title": "", "due_date": None}):
        with pytest.raises(IntegrityError):
            actions.create_task(actor=someone, fields=fields, now=now())
    with pytest.raises(IntegrityError):
        actions.create_category(actor=stranger(), fields={"name": "x"}, now=now())
    nameless = actions.Operation(Verb.CREATE, fields={"title": ""})
    with pytest.raises(IntegrityError):
        actions.change_tasks(actor=someone, asked=[nameless], atomic=False, now=now())
    assert not Change.objects.exists()
    assert not Task.objects.exists()
    assert not Category.objects.exists()


def doors(actor: Actor, task_id: Any, category_id: Any) -> dict[str, Callable[[], Any]]:
    """Every way to look at, and to change, a task and a category."""
    about_task = {"actor": actor, "task_id": task_id, "now": now()}
    return {
        "look at a task": lambda: access.task_for(actor, task_id),
        "look at a category": lambda: access.category_for(actor, category_id),
        "change a task": lambda: access.unlocked_task_for(actor, task_id),
        "lock a task": lambda: access.locked_task_for(actor, task_id),
        "lock a category": lambda: access.category_for(actor, category_id, lock=True),
        "delete a task": lambda: actions.delete_task(**about_task),
        "restore a task": lambda: actions.restore_task(**about_task),
        "delete a category": lambda: actions.delete_category(actor=actor, category_id=category_id, now=now()),
    }


DOORS = doors(stranger(), None, None)


@pytest.fixture
def things() -> tuple[Any, Any, Any]:
    """The ids of a user, and of a task and a category of theirs."""
    user = alice()
    owner = stranger(user_id=user.id)
    task = actions.create_task(actor=owner, fields={"title": "x"}, now=now())
    category = actions.create_category(actor=owner, fields={"name": "x"}, now=now())
    return user.id, task.id, category.id


@pytest.mark.django_db
@pytest.mark.parametrize("door", DOORS)
def test_a_role_without_rights_cannot_tell_what_exists(door: str, things: tuple[Any, Any, Any]) -> None:
    user_id, task_id, category_id = things
    visitor = stranger("visitor", user_id)

    for ids in ((task_id, category_id), (new_id(), new_id())):
        with pytest.raises(Forbidden):
            doors(visitor, *ids)[door]()


@pytest.mark.django_db
@pytest.mark.parametrize("door", [name for name in DOORS if not name.startswith("look")])
def test_a_role_that_may_only_look_changes_nothing_of_its_own(
    door: str, things: tuple[Any, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id, task_id, category_id = things
    monkeypatch.setitem(ALLOWED, "visitor", frozenset({Permission.TASK_VIEW, Permission.CATEGORY_VIEW}))
    visitor = stranger("visitor", user_id)

    with pytest.raises(Forbidden):
        doors(visitor, task_id, category_id)[door]()
    with pytest.raises(NotFound):
        doors(visitor, new_id(), new_id())[door]()


@pytest.mark.django_db
def test_a_role_without_rights_changes_no_tasks_at_once() -> None:
    with pytest.raises(Forbidden):
        actions.change_tasks(actor=stranger("visitor", alice().id), asked=[], atomic=False, now=now())
