"""No update is lost: entity tags, versions in bodies, and edits of different fields side by side."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cast import Api, adam, alice, faults, log_of, person, undone
from duely.activity.models import Change
from duely.core import clock
from duely.tasks import actions
from duely.tasks.models import Task

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> Api:
    return Api(alice())


def made(api: Api, **fields: Any) -> dict[str, Any]:
    task: dict[str, Any] = api.post("tasks/", {"title": "Milk", **fields}).json()
    return task


def category(api: Api, name: str = "Home") -> dict[str, Any]:
    found: dict[str, Any] = api.post("categories/", {"name": name}).json()
    return found


# If-Match

MATCHES = ['"1"', ' "1" ', '"7", "1"', '"x","1"', 'W/"9", "1"', "*", '"1",']
MADE_BY_PROXIES = [
    'W/"1"',
    '"1-gzip"',
    '"1-br"',
    '"1-zstd"',
    '"1-deflate"',
    '"1--gzip"',
    'W/"1-gzip"',
    '"9-gzip", W/"1"',
]
MISSES = ['"2"', '"01"', '"1.0"', '""', '"x"', '"-1"', '"' + "9" * 400 + '"']
MISSES += ['W/"2"', '"2-gzip"', '"2", W/"3"', '"-gzip"', '"1-"', '"1-gzip-gzip"', '"1-x"', '"1gzip"', '"gzip-1"']
NONSENSE = ["1", '"1', "1, 2", "", '"1" "2"', "W/1", '"a b"', "'1'", '"1"; x']


@pytest.mark.parametrize("header", MATCHES + MADE_BY_PROXIES)
def test_the_present_version_lets_a_write_through(api: Api, header: str) -> None:
    for thing in (f"tasks/{made(api)['id']}/", f"categories/{category(api)['id']}/"):
        answer = api.patch(thing, {"title" if "tasks" in thing else "name": "Other"}, If_Match=header)
        assert answer.status_code == 200, answer.content
        assert answer.headers["ETag"] == '"2"'


@pytest.mark.parametrize("header", MISSES)
def test_another_version_is_refused_with_the_thing_as_it_is(api: Api, header: str) -> None:
    for thing in (f"tasks/{made(api)['id']}/", f"categories/{category(api)['id']}/"):
        now = api.get(thing).json()
        name = "title" if "tasks" in thing else "name"
        for answer in (
            api.patch(thing, {name: "Other"}, If_Match=header),
            api.put(thing, {name: "Other"}, If_Match=header),
            api.delete(thing, If_Match=header),
        ):
            assert (answer.status_code, answer.json()["code"]) == (412, "version_conflict")
            assert answer.json()["current"] == now
        assert api.get(thing).json() == now


@pytest.mark.parametrize("header", NONSENSE)
def test_what_is_no_entity_tag_is_refused(api: Api, header: str) -> None:
    task = made(api)
    answer = api.patch(f"tasks/{task['id']}/", {"title": "Other"}, If_Match=header)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")
    assert api.get(f"tasks/{task['id']}/").json() == task


def test_a_foreign_thing_is_not_there_whatever_its_version(api: Api) -> None:
    task, stranger = made(api), Api(person("mallory"))
    for header in ('"1"', '"2"'):
        assert stranger.patch(f"tasks/{task['id']}/", {"title": "x"}, If_Match=header).status_code == 404
        assert stranger.delete(f"tasks/{task['id']}/", If_Match=header).status_code == 404


def test_a_stale_write_is_refused_although_it_would_change_nothing(api: Api) -> None:
    task = made(api)
    api.patch(f"tasks/{task['id']}/", {"title": "Bread"})
    assert api.patch(f"tasks/{task['id']}/", {"title": "Bread"}, If_Match='"1"').status_code == 412


def test_delete_goes_by_the_present_version(api: Api) -> None:
    task, drawer = made(api), category(api)
    assert api.delete(f"tasks/{task['id']}/", If_Match='"1"').status_code == 204
    assert api.delete(f"categories/{drawer['id']}/", If_Match='"1"').status_code == 204


# The version in the body


def patch(api: Api, task: dict[str, Any], version: int, **fields: Any) -> Any:
    return api.patch(f"tasks/{task['id']}/", {"version": version, **fields})


def test_edits_of_different_fields_from_one_version_both_stand(api: Api) -> None:
    task = made(api)
    assert patch(api, task, 1, title="Bread").status_code == 200
    answer = patch(api, task, 1, priority="high")
    assert answer.status_code == 200
    found = answer.json()
    assert (found["title"], found["priority"], found["version"]) == ("Bread", "high", 3)


def test_an_edit_of_the_same_field_is_refused_by_name_with_the_thing_as_it_is(api: Api) -> None:
    task = made(api)
    now = patch(api, task, 1, title="Bread", tags=["shop"]).json()
    answer = patch(api, task, 1, title="Butter", tags=["home"], priority="high")
    assert (answer.status_code, answer.json()["code"]) == (409, "edit_conflict")
    assert faults(answer) == {"title": "edit_conflict", "tags": "edit_conflict"}
    assert answer.json()["current"] == now
    assert api.get(f"tasks/{task['id']}/").json() == now
    assert patch(api, task, now["version"], title="Butter", tags=["home"], priority="high").status_code == 200


def test_both_setting_the_same_value_is_no_conflict(api: Api) -> None:
    task = made(api)
    patch(api, task, 1, title="Bread")
    assert patch(api, task, 1, title="Bread", priority="high").status_code == 200


def test_a_field_that_was_changed_and_changed_back_is_a_conflict(api: Api) -> None:
    """Someone looked at it, and decided."""
    task = made(api)
    patch(api, task, 1, title="Bread")
    patch(api, task, 2, title="Milk")
    assert faults(patch(api, task, 1, title="Butter")) == {"title": "edit_conflict"}


def test_only_what_changed_since_that_version_counts(api: Api) -> None:
    task = made(api)
    patch(api, task, 1, title="Bread")
    patch(api, task, 2, priority="high")
    assert patch(api, task, 2, title="Butter").status_code == 200
    assert faults(patch(api, task, 2, title="Cheese", priority="low")) == {
        "title": "edit_conflict",
        "priority": "edit_conflict",
    }


def test_a_put_counts_as_an_edit_of_what_it_changes(api: Api) -> None:
    task = made(api, priority="high")
    patch(api, task, 1, description="From the farm")
    whole = {"title": "Milk", "priority": "high", "version": 1}
    assert faults(api.put(f"tasks/{task['id']}/", whole)) == {"description": "edit_conflict"}
    same = {**whole, "description": "From the farm", "priority": "low"}
    assert api.put(f"tasks/{task['id']}/", same).status_code == 200


@pytest.mark.parametrize("edit", [{"status": "in_progress"}, {"completed": True}, {"completed": False}])
def test_the_shorthand_is_an_edit_of_the_status(api: Api, edit: dict[str, Any]) -> None:
    task = made(api)
    done = {"completed": True} if edit != {"completed": True} else {"status": "cancelled"}
    patch(api, task, 1, **done)
    assert faults(patch(api, task, 1, **edit)) == {"status": "edit_conflict"}


def test_what_the_clock_changed_does_not_stand_against_a_new_due_date(api: Api) -> None:
    """The task has become overdue meanwhile; that its status goes back is nobody's edit."""
    at = clock.now()
    task = made(api, due_date=clock.rfc3339(at + timedelta(hours=1)))
    with time_machine.travel(at + timedelta(hours=2)):
        assert actions.mark_overdue(now=clock.now()) == 1
        bearer = Api(api.user)
        later = clock.rfc3339(at + timedelta(days=1))
        answer = patch(bearer, task, 1, due_date=later)
        assert (answer.status_code, answer.json()["status"]) == (200, "pending")
        assert faults(patch(bearer, task, 1, status="in_progress")) == {"status": "edit_conflict"}


def test_a_version_that_is_yet_to_come_is_refused(api: Api) -> None:
    task = made(api)
    assert faults(patch(api, task, 2, title="Bread")) == {"version": "out_of_range"}
    for version in (0, -1, "1", 1.5, True, None, 2**31):
        assert "version" in faults(patch(api, task, version, title="Bread"))


def test_version_alone_changes_nothing(api: Api) -> None:
    task = made(api)
    assert patch(api, task, 1).json() == task


def test_a_new_thing_takes_no_version(api: Api) -> None:
    for path, body in (("tasks/", {"title": "Milk"}), ("categories/", {"name": "Home"})):
        assert faults(api.post(path, {**body, "version": 1})) == {"version": "unknown_field"}


def test_categories_have_versions_too(api: Api) -> None:
    drawer = category(api)
    path = f"categories/{drawer['id']}/"
    assert api.patch(path, {"version": 1, "name": "Garden"}).status_code == 200
    assert api.patch(path, {"version": 1, "color": "#123456"}).status_code == 200
    answer = api.patch(path, {"version": 1, "name": "Shed", "position": 3})
    assert faults(answer) == {"name": "edit_conflict"}
    assert answer.json()["current"] == api.get(path).json()
    assert faults(api.put(path, {"version": 1, "name": "Garden"})) == {"color": "edit_conflict"}


def test_both_are_checked_when_both_are_given(api: Api) -> None:
    task = made(api)
    patch(api, task, 1, title="Bread")
    path = f"tasks/{task['id']}/"
    assert api.patch(path, {"version": 1, "title": "Butter"}, If_Match='"2"').status_code == 409
    assert api.patch(path, {"version": 2, "title": "Butter"}, If_Match='"1"').status_code == 412
    assert api.patch(path, {"version": 2, "title": "Butter"}, If_Match='"2"').status_code == 200


def test_an_admins_edit_counts_like_any_other(api: Api) -> None:
    task = made(api)
    assert patch(Api(adam()), task, 1, title="Bread").status_code == 200
    assert faults(patch(api, task, 1, title="Butter")) == {"title": "edit_conflict"}


def test_nothing_is_recorded_of_a_refused_edit(api: Api) -> None:
    task = made(api)
    patch(api, task, 1, title="Bread")
    before = log_of(api.user)
    patch(api, task, 1, title="Butter")
    api.delete(f"tasks/{task['id']}/", If_Match='"1"')
    assert log_of(api.user) == before


def test_a_deleted_category_is_an_edit_of_its_tasks(api: Api) -> None:
    drawer, other = category(api), category(api, "Garden")
    task = made(api, category=drawer["id"])
    api.delete(f"categories/{drawer['id']}/")
    assert faults(patch(api, task, 1, category=other["id"])) == {"category": "edit_conflict"}


# Two clients, any order

TITLES = ("a", "b", "c")
FIELDS = {
    "title": st.sampled_from(TITLES),
    "description": st.sampled_from(("", "x", "y")),
    "priority": st.sampled_from(("low", "high")),
    "tags": st.sampled_from(([], ["one"], ["two"])),
}
EDITS = st.dictionaries(st.sampled_from(sorted(FIELDS)), st.none(), min_size=1).flatmap(
    lambda names: st.fixed_dictionaries({name: FIELDS[name] for name in names})
)
CLIENT = st.sampled_from((0, 1))


class TwoClients(RuleBasedStateMachine):
    """Each has the task as they last saw it. A model of some lines says which edits may stand.

    They read, edit with and without versions, send an edit again whose answer they lost, delete and restore.
    """

    api: Api

    @initialize()
    def begin(self) -> None:
        self.task = made(self.api, description="", priority="low")
        self.seen = [self.task, self.task]
        self.changed_at = dict.fromkeys(FIELDS, 1)
        self.now = {name: self.task[name] for name in FIELDS}
        self.version = 1
        self.is_there = True
        self.keys = 0
        self.sent: list[tuple[str, dict[str, Any], Any]] = []
        self.path = f"tasks/{self.task['id']}/"

    def _apply(self, edit: dict[str, Any]) -> None:
        changed = {name for name, value in edit.items() if self.now[name] != value}
        if changed:
            self.version += 1
            self.changed_at.update(dict.fromkeys(changed, self.version))
            self.now.update(edit)

    @precondition(lambda self: self.is_there)
    @rule(client=CLIENT)
    def read(self, client: int) -> None:
        self.seen[client] = self.api.get(self.path).json()

    @precondition(lambda self: self.is_there)
    @rule(client=CLIENT, edit=EDITS)
    def edit_with_version(self, client: int, edit: dict[str, Any]) -> None:
        basis = self.seen[client]["version"]
        conflict = {n for n, v in edit.items() if self.now[n] != v and self.changed_at[n] > basis}
        answer = patch(self.api, self.task, basis, **edit)
        assert answer.status_code == (409 if conflict else 200)
        if conflict:
            assert faults(answer).keys() == conflict
            self.seen[client] = answer.json()["current"]
        else:
            self._apply(edit)
            self.seen[client] = answer.json()

    @precondition(lambda self: self.is_there)
    @rule(client=CLIENT, edit=EDITS)
    def edit_if_match(self, client: int, edit: dict[str, Any]) -> None:
        basis = self.seen[client]["version"]
        answer = self.api.patch(self.path, edit, If_Match=f'"{basis}"')
        assert answer.status_code == (200 if basis == self.version else 412)
        if answer.status_code == 200:
            self._apply(edit)
        self.seen[client] = answer.json() if answer.status_code == 200 else answer.json()["current"]

    @precondition(lambda self: self.is_there)
    @rule(edit=EDITS)
    def edit_without(self, edit: dict[str, Any]) -> None:
        assert self.api.patch(self.path, edit).status_code == 200
        self._apply(edit)

    @rule(edit=EDITS)
    def edit_with_key(self, edit: dict[str, Any]) -> None:
        self.keys += 1
        answer = self.api.patch(self.path, edit, Idempotency_Key=f"{self.task['id']}-{self.keys}")
        assert answer.status_code == (200 if self.is_there else 404)
        if self.is_there:
            self._apply(edit)
        self.sent.append((f"{self.task['id']}-{self.keys}", edit, answer.content))

    @precondition(lambda self: self.sent)
    @rule(number=st.integers(0, 9))
    def send_again(self, number: int) -> None:
        """Whatever has happened since: nothing is done, and the first answer comes again."""
        key, edit, content = self.sent[number % len(self.sent)]
        again = self.api.patch(self.path, edit, Idempotency_Key=key)
        assert (again.content, again.headers["Idempotent-Replayed"]) == (content, "true")

    @precondition(lambda self: not self.is_there)
    @rule(edit=EDITS)
    def edit_what_is_gone(self, edit: dict[str, Any]) -> None:
        for headers in ({}, {"If_Match": f'"{self.version}"'}):
            assert self.api.patch(self.path, edit, **headers).status_code == 404

    @rule(client=CLIENT, is_careful=st.booleans())
    def delete(self, client: int, is_careful: bool) -> None:
        basis = self.seen[client]["version"]
        answer = self.api.delete(self.path, **({"If_Match": f'"{basis}"'} if is_careful else {}))
        if not self.is_there:
            assert answer.status_code == 404
        elif is_careful and basis != self.version:
            assert answer.status_code == 412
            self.seen[client] = answer.json()["current"]
        else:
            assert answer.status_code == 204
            self.is_there = False
            self.version += 1

    @rule(client=CLIENT)
    def restore(self, client: int) -> None:
        answer = self.api.post(f"{self.path}restore/")
        assert answer.status_code == (409 if self.is_there else 200)
        if not self.is_there:
            self.is_there = True
            self.version += 1
            self.seen[client] = answer.json()

    @invariant()
    def nothing_is_lost(self) -> None:
        stored = Task.objects.get(pk=self.task["id"])
        assert (stored.title, stored.description, stored.tags) == (
            self.now["title"],
            self.now["description"],
            self.now["tags"],
        )
        assert stored.version == self.version
        assert (stored.deleted_at is None) == self.is_there
        assert Change.objects.filter(target_id=stored.pk).count() == self.version


@pytest.mark.slow
def test_two_clients_lose_no_field_that_nobody_overwrote(api: Api) -> None:
    def machine() -> TwoClients:
        made_anew = TwoClients()
        made_anew.api = api
        return made_anew

    with undone():
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            machine, settings=hypothesis_settings(max_examples=25, stateful_step_count=20, deadline=None, database=None)
        )
