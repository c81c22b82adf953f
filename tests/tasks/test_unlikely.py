"""Faults that no request can cause, and that are no one's mistake: they surface."""

from typing import Any

import pytest
from django.db import IntegrityError

from cast import alice
from duely.activity.models import Change
from duely.core.actor import Actor, Origin
from duely.core.clock import now
from duely.core.errors import Forbidden, NotFound
from duely.core.ids import new_id
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


@pytest.mark.django_db
def test_a_role_without_rights_sees_that_a_thing_is_its_own_and_may_do_nothing() -> None:
    user = alice()
    actor = stranger(user_id=user.id)
    task = actions.create_task(actor=actor, fields={"title": "x"}, now=now())
    category = actions.create_category(actor=actor, fields={"name": "x"}, now=now())
    nobody = stranger("visitor", user.id)
    for call in (
        lambda: access.task_for(nobody, task.id),
        lambda: access.locked_task_for(nobody, task.id),
        lambda: access.category_for(nobody, category.id),
        lambda: access.category_for(nobody, category.id, lock=True),
        lambda: actions.delete_task(actor=nobody, task_id=task.id, now=now()),
        lambda: actions.restore_task(actor=nobody, task_id=task.id, now=now()),
        lambda: actions.change_tasks(actor=nobody, asked=[], atomic=False, now=now()),
        lambda: actions.delete_category(actor=nobody, category_id=category.id, now=now()),
    ):
        with pytest.raises(Forbidden):
            call()
    with pytest.raises(NotFound):
        access.task_for(nobody, new_id())
