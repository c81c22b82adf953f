"""Users, as admins manage them."""

from typing import Any

import pytest

from cast import PASSWORD, Api, adam, alice, bob, faults, iris, log_of, mallory, person
from duely.accounts.models import User
from duely.core.ids import new_id

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("who", [alice, iris, adam])
def test_everyone_can_see_themselves(who: Any) -> None:
    user = who()
    api = Api(user)
    me = api.get("users/me/")
    assert me.status_code == 200
    assert me.json()["username"] == user.username
    assert me.json() == api.get(f"users/{user.id}/").json()


def test_the_id_in_a_path_is_read_in_any_case() -> None:
    user = alice()
    assert Api(user).get(f"users/{str(user.id).upper()}/").status_code == 200


@pytest.mark.parametrize("who", [alice, iris])
def test_others_are_not_there(who: Any) -> None:
    other = bob()
    api = Api(who())
    unknown_id = new_id()
    for method, body in (("GET", None), ("PATCH", {"role": "admin"})):
        foreign = api.call(method, f"users/{other.id}/", body, X_Request_ID="same")
        unknown = api.call(method, f"users/{unknown_id}/", body, X_Request_ID="same")
        assert foreign.status_code == unknown.status_code == 404
        assert foreign.content.replace(str(other.id).encode(), b"") == unknown.content.replace(
            str(unknown_id).encode(), b""
        )
    other.refresh_from_db()
    assert other.role == "member"


@pytest.mark.parametrize("who", [alice, iris])
@pytest.mark.parametrize("body", [{"role": "admin"}, {"is_active": False}, {}])
def test_one_cannot_change_ones_own_role(who: Any, body: dict[str, Any]) -> None:
    user = who()
    response = Api(user).patch(f"users/{user.id}/", body)
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    user.refresh_from_db()
    assert (user.role, user.is_active) in (("member", True), ("intern", True))


@pytest.mark.parametrize("who", [alice, iris])
def test_only_admins_can_list_users(who: Any) -> None:
    response = Api(who()).get("users/")
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")


def names(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [row["username"] for row in response.json()["data"]]


def test_admins_list_filter_search_and_order_users() -> None:
    api = Api(adam())
    alice(), iris(), mallory(), person("Jürgen", is_active=False, email="jb@test.example")

    def found(query: str) -> list[str]:
        return names(api.get(f"users/?{query}"))

    assert set(names(api.get("users/"))) == {"adam", "alice", "iris", "mallory", "Jürgen"}
    assert found("ordering=-username") == ["mallory", "Jürgen", "iris", "alice", "adam"]
    assert found("ordering=email") == ["adam", "alice", "iris", "Jürgen", "mallory"]
    assert found("role=intern") == ["iris"]
    assert found("role=INTERN,Admin&ordering=username") == ["adam", "iris"]
    assert found("role__ne=member&ordering=username") == ["adam", "iris"]
    assert found("is_active=false") == ["Jürgen"]
    assert found("search=JÜRG") == ["Jürgen"]
    assert found("search=TEST.ex") == ["Jürgen"]
    assert found("search=al&ordering=username") == ["alice", "mallory"]
    assert found("search=%25") == []
    assert found("search=_") == []
    assert found("search=al&role=admin") == []
    assert found("page=2&page_size=2&ordering=username") == ["iris", "Jürgen"]
    assert api.get("users/?page=2&page_size=2").json()["pagination"]["total"] == 5


def test_pages_by_cursor_hold_everyone_once() -> None:
    api = Api(adam())
    for number in range(6):
        person(f"user{number}", created_at=api.user.created_at)
    for order in ("created_at", "-created_at", "username", "-email"):
        seen: list[str] = []
        cursor = ""
        while True:
            page = api.get(f"users/?limit=3&ordering={order}{cursor}").json()
            seen += [row["username"] for row in page["data"]]
            if not page["pagination"]["has_more"]:
                break
            cursor = f"&cursor={page['pagination']['next_cursor']}"
        assert len(seen) == len(set(seen)) == 7


@pytest.mark.parametrize(
    "query",
    [
        "password=x",
        "password__startswith=argon2",
        "username_key=x",
        "ordering=password",
        "ordering=password__startswith",
        "fields=password",
        "role=root",
        "is_active=maybe",
        "search=",
        "search=%00",
        "limit=0",
        "limit=101",
        "_connector=OR",
        "limit=1&limit=2",
        "session__user__password=x",
    ],
)
def test_only_documented_parameters_are_taken(query: str) -> None:
    response = Api(adam()).get(f"users/?{query}")
    assert response.status_code == 400
    assert response.json()["code"] == "validation_failed"


def test_an_admin_changes_a_role_at_once() -> None:
    api, theirs = Api(adam()), Api(alice())
    assert theirs.get("users/").status_code == 403
    response = api.patch(f"users/{theirs.user.id}/", {"role": "ADMIN"})
    assert response.status_code == 200
    assert response.json()["role"] == "admin"
    assert theirs.get("users/").status_code == 401, "with a new role one signs in again"
    theirs = Api(theirs.user)
    assert theirs.get("users/").status_code == 200
    assert api.patch(f"users/{theirs.user.id}/", {"role": "intern"}).status_code == 200
    assert theirs.get("users/").status_code == 401
    assert Api(theirs.user).get("users/").status_code == 403
    assert log_of(theirs.user) == [
        ("user.role_changed", {"role": ["member", "admin"]}),
        ("user.role_changed", {"role": ["admin", "intern"]}),
    ]


def test_the_log_names_the_admin() -> None:
    from duely.activity.models import Change

    api, user = Api(adam()), alice()
    api.patch(f"users/{user.id}/", {"role": "intern"})
    entry = Change.objects.get()
    assert (entry.actor_id, entry.actor_name, entry.owner_id) == (api.user.id, "adam", user.id)
    assert (entry.target_type, entry.target_id, entry.target_label) == ("user", user.id, "alice")


def test_a_deactivated_user_is_out_at_once_with_every_credential() -> None:
    api = Api(adam())
    user = alice()
    pair = Api().post("auth/login/", {"username": "alice", "password": PASSWORD}).json()
    theirs = Api(headers={"Authorization": f"Bearer {pair['access']}"})
    assert theirs.get("users/me/").status_code == 200
    assert api.patch(f"users/{user.id}/", {"is_active": False}).json()["is_active"] is False
    assert theirs.get("users/me/").status_code == 401
    assert Api().post("auth/refresh/", {"refresh": pair["refresh"]}).status_code == 401
    assert Api().post("auth/login/", {"username": "alice", "password": PASSWORD}).status_code == 401
    assert ("user.deactivated", {"is_active": [True, False]}) in log_of(user)


def test_reactivation_revives_no_session() -> None:
    api, theirs = Api(adam()), Api(alice())
    api.patch(f"users/{theirs.user.id}/", {"is_active": False})
    api.patch(f"users/{theirs.user.id}/", {"is_active": True})
    assert theirs.get("users/me/").status_code == 401
    assert [action for action, _ in log_of(theirs.user)] == ["user.deactivated", "user.reactivated"]
    assert Api().post("auth/login/", {"username": "alice", "password": PASSWORD}).status_code == 200


def test_role_and_activity_change_together() -> None:
    api, user = Api(adam()), alice()
    response = api.patch(f"users/{user.id}/", {"role": "intern", "is_active": False})
    assert (response.json()["role"], response.json()["is_active"]) == ("intern", False)
    user.refresh_from_db()
    assert (user.role, user.is_active) == ("intern", False)
    assert log_of(user) == [
        ("user.role_changed", {"role": ["member", "intern"]}),
        ("user.deactivated", {"is_active": [True, False]}),
    ]


@pytest.mark.parametrize("body", [{}, {"role": "member"}, {"is_active": True}])
def test_what_is_so_already_is_no_change(body: dict[str, Any]) -> None:
    api, user = Api(adam()), alice()
    assert api.patch(f"users/{user.id}/", body).status_code == 200
    assert log_of(user) == []


@pytest.mark.parametrize("body", [{"role": "member"}, {"role": "intern"}, {"is_active": False}])
def test_the_last_active_admin_stays(body: dict[str, Any]) -> None:
    api = Api(adam())
    person("former", role="admin", is_active=False)
    response = api.patch(f"users/{api.user.id}/", body)
    assert (response.status_code, response.json()["code"]) == (409, "last_admin")
    api.user.refresh_from_db()
    assert (api.user.role, api.user.is_active) == ("admin", True)
    assert log_of(api.user) == []


def test_with_another_admin_one_can_go() -> None:
    api = Api(adam())
    person("eve", role="admin")
    assert api.patch(f"users/{api.user.id}/", {"role": "member"}).status_code == 200
    assert api.get("users/").status_code == 401
    assert Api(api.user).get("users/").status_code == 403


def test_an_inactive_admin_can_be_demoted() -> None:
    former = person("former", role="admin", is_active=False)
    assert Api(adam()).patch(f"users/{former.id}/", {"role": "member"}).status_code == 200


def test_an_unknown_user_is_not_there() -> None:
    api = Api(adam())
    assert api.get(f"users/{new_id()}/").status_code == 404
    assert api.patch(f"users/{new_id()}/", {"role": "member"}).status_code == 404
    assert api.get("users/no-uuid/").status_code == 404


@pytest.mark.parametrize(
    "body, expected",
    [
        ({"role": "root"}, {"role": "invalid_choice"}),
        ({"role": None}, {"role": "invalid_type"}),
        ({"is_active": "no"}, {"is_active": "invalid_type"}),
        ({"is_active": 0}, {"is_active": "invalid_type"}),
        ({"username": "x", "email": "y"}, {"username": "unknown_field", "email": "unknown_field"}),
        ({"password": "x", "is_staff": True}, {"password": "unknown_field", "is_staff": "unknown_field"}),
    ],
)
def test_a_bad_shape_is_refused(body: dict[str, Any], expected: dict[str, str]) -> None:
    user = alice()
    response = Api(adam()).patch(f"users/{user.id}/", body)
    assert response.status_code == 400
    assert faults(response) == expected


def test_no_answer_shows_more_than_it_should() -> None:
    api = Api(adam())
    alice()
    rows = api.get("users/").json()["data"]
    for row in [*rows, api.get("users/me/").json()]:
        assert row.keys() == {"id", "username", "email", "email_verified", "role", "is_active", "created_at"}


def test_an_admin_who_was_demoted_meanwhile_changes_nobody() -> None:
    from msgspec.structs import replace

    from duely.accounts import actions
    from duely.accounts.rules import Role
    from duely.core import clock
    from duely.core.actor import Actor, Origin
    from duely.core.errors import Forbidden

    eve, user = person("eve", role="admin"), alice()
    adam()
    actor = Actor(eve.id, "eve", "admin", None, "UTC", Origin())
    User.objects.filter(pk=eve.pk).update(role="member")
    with pytest.raises(Forbidden):
        actions.change_user(actor=actor, user_id=user.id, role=Role.ADMIN, now=clock.now())
    with pytest.raises(Forbidden):
        actions.change_user(actor=replace(actor, id=new_id()), user_id=user.id, role=Role.ADMIN, now=clock.now())


def test_the_system_may_change_users() -> None:
    from duely.accounts import actions
    from duely.accounts.rules import Role
    from duely.core import clock

    user = alice()
    actions.change_user(actor=None, user_id=user.id, role=Role.ADMIN, now=clock.now())
    assert log_of(user) == [("user.role_changed", {"role": ["member", "admin"]})]


def test_statements_are_few(django_assert_num_queries: Any, django_assert_max_num_queries: Any) -> None:
    api, user = Api(adam()), alice()
    with django_assert_num_queries(2):
        api.get("users/")
    with django_assert_num_queries(2):
        api.get(f"users/{user.id}/")
    with django_assert_num_queries(2):
        api.get("users/me/")
    with django_assert_max_num_queries(11):
        api.patch(f"users/{user.id}/", {"role": "intern"})


def test_django_finds_users_by_name_in_any_case() -> None:
    user = person("Jürgen")
    assert User.objects.get_by_natural_key("JÜRGEN") == user
    with pytest.raises(User.DoesNotExist):
        User.objects.get_by_natural_key(None)
    assert not user.is_staff
    assert not user.is_superuser
    assert not user.has_perm("accounts.view_user")
    assert not user.has_module_perms("accounts")
    assert str(user) == "Jürgen"
