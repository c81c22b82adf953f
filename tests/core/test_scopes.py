"""Who sees what."""

import pytest

from duely.core.actor import Actor, Origin, anonymous
from duely.core.errors import Forbidden
from duely.core.ids import new_id
from duely.core.permissions import ALLOWED, Permission
from duely.core.scopes import EVERYTHING, Owned, own_scope, scope


def actor_of(role: str) -> Actor:
    return Actor(id=new_id(), name="alice", role=role, session_id=None, zone="UTC", origin=Origin())


@pytest.mark.parametrize("role", ["member", "intern"])
def test_members_and_interns_reach_their_own_objects(role: str) -> None:
    actor = actor_of(role)

    assert scope(actor, Permission.TASK_VIEW) == own_scope(actor, Permission.TASK_VIEW) == Owned(actor.user_id)
    assert Owned(actor.user_id).covers(actor.user_id)
    assert not Owned(actor.user_id).covers(new_id())


def test_admins_reach_everything_but_own_operations_only_their_own() -> None:
    admin = actor_of("admin")

    assert scope(admin, Permission.TASK_VIEW) is EVERYTHING
    assert EVERYTHING.covers(new_id())
    assert own_scope(admin, Permission.TASK_VIEW) == Owned(admin.user_id)


def test_to_see_all_needs_the_permission_itself_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ALLOWED, "auditor", frozenset({Permission.SEE_ALL, Permission.LOG_VIEW}))
    auditor = actor_of("auditor")

    assert scope(auditor, Permission.LOG_VIEW) is EVERYTHING
    with pytest.raises(Forbidden):
        scope(auditor, Permission.TASK_VIEW)


@pytest.mark.parametrize("actor", [actor_of("unheard of"), anonymous(Origin())], ids=["unknown", "anonymous"])
@pytest.mark.parametrize("permission", Permission)
def test_other_roles_have_no_scope_at_all(actor: Actor, permission: Permission) -> None:
    for of in (scope, own_scope):
        with pytest.raises(Forbidden):
            of(actor, permission)
