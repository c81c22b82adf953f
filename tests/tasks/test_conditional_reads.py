"""A reader who has the newest answer gets none: 304, for one indexed read."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cast import Api, adam, alice, person
from duely.core import clock
from duely.tasks import actions

pytestmark = pytest.mark.django_db

LISTS = ["tasks/", "categories/", "activity-logs/"]


@pytest.fixture
def api() -> Api:
    return Api(alice())


def again(api: Api, path: str, tag: str) -> int:
    answer = api.get(path, If_None_Match=tag)
    assert answer.status_code in (200, 304)
    if answer.status_code == 304:
        assert answer.content == b""
        assert answer.headers["ETag"]
        assert "Content-Type" not in answer.headers
        assert "Content-Length" not in answer.headers
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.headers["Vary"] == "Authorization"
    return int(answer.status_code)


@pytest.mark.parametrize("path", LISTS)
def test_a_list_that_has_not_changed_is_not_sent_again(api: Api, path: str) -> None:
    api.post("tasks/", {"title": "Milk"})
    tag = api.get(path).headers["ETag"]
    for header in (tag, f"W/{tag}", f'{tag[:-1]}-gzip"', f'"x", {tag}', "*"):
        assert again(api, path, header) == 304
    for header in ('"x"', f'"x{tag[1:]}', '""'):
        assert again(api, path, header) == 200
    head = api.call("HEAD", path, If_None_Match=tag)
    assert (head.status_code, head.headers["ETag"]) == (304, tag)


def test_it_costs_one_indexed_read(api: Api) -> None:
    tag = api.get("tasks/").headers["ETag"]
    with CaptureQueriesContext(connection) as captured:
        assert again(api, "tasks/", tag) == 304
    assert len(captured) == 1
    assert "accounts_session" in captured[0]["sql"]


CHANGES = [
    lambda api, task, category: api.post("tasks/", {"title": "Bread"}),
    lambda api, task, category: api.patch(task, {"title": "Bread"}),
    lambda api, task, category: api.patch(task, {"category": None}),
    lambda api, task, category: api.delete(task),
    lambda api, task, category: api.post("categories/", {"name": "Garden"}),
    lambda api, task, category: api.patch(category, {"name": "Garden"}),
    lambda api, task, category: api.delete(category),
    lambda api, task, category: api.patch("profile/", {"time_zone": "Asia/Tokyo"}),
    lambda api, task, category: Api(adam()).patch(task, {"title": "Bread"}),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("path", LISTS)
def test_every_change_of_what_is_mine_makes_another_tag(api: Api, path: str, change: Any) -> None:
    category = api.post("categories/", {"name": "Home"}).json()["id"]
    task = api.post("tasks/", {"title": "Milk", "category": category, "due_date": "2030-01-31"}).json()["id"]
    tag = api.get(path).headers["ETag"]
    assert change(api, f"tasks/{task}/", f"categories/{category}/").status_code < 300
    assert again(api, path, tag) == 200


def test_what_the_clock_changes_makes_another_tag(api: Api) -> None:
    at = clock.now()
    api.post("tasks/", {"title": "Milk", "due_date": clock.rfc3339(at + timedelta(minutes=1))})
    tag = api.get("tasks/").headers["ETag"]
    with time_machine.travel(at + timedelta(minutes=2)):
        actions.mark_overdue(now=clock.now())
        assert again(api, "tasks/", tag) == 200


def test_an_edit_that_changes_nothing_keeps_the_tag(api: Api) -> None:
    task = api.post("tasks/", {"title": "Milk"}).json()["id"]
    tag = api.get("tasks/").headers["ETag"]
    api.patch(f"tasks/{task}/", {"title": "Milk"})
    assert again(api, "tasks/", tag) == 304


def test_each_query_has_its_own_tag(api: Api) -> None:
    paths = ["tasks/", "tasks/?limit=1", "tasks/?status=pending", "tasks/?ordering=title", "categories/"]
    assert len({api.get(path).headers["ETag"] for path in paths}) == len(paths)


def test_nobody_elses_tag_fits(api: Api) -> None:
    other = Api(person("bob"))
    assert api.get("tasks/").headers["ETag"] != other.get("tasks/").headers["ETag"]
    assert again(other, "tasks/", api.get("tasks/").headers["ETag"]) == 200


def test_what_others_do_keeps_the_tag(api: Api) -> None:
    tag = api.get("tasks/").headers["ETag"]
    Api(person("bob")).post("tasks/", {"title": "Milk"})
    assert again(api, "tasks/", tag) == 304


@pytest.mark.parametrize("path", LISTS)
def test_an_admin_who_sees_what_is_others_gets_no_tag(path: str) -> None:
    answer = Api(adam()).get(path, If_None_Match="*")
    assert answer.status_code == 200
    assert "ETag" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_task_is_not_sent_again_while_its_version_stays(api: Api) -> None:
    path = f"tasks/{api.post('tasks/', {'title': 'Milk'}).json()['id']}/"
    assert again(api, path, '"1"') == 304
    api.patch(path, {"title": "Bread"})
    assert again(api, path, '"1"') == 200
    assert again(api, path, '"1", "2"') == 304


def test_a_category_is_always_sent_since_its_count_has_no_version(api: Api) -> None:
    category = api.post("categories/", {"name": "Home"}).json()["id"]
    api.post("tasks/", {"title": "Milk", "category": category})
    answer = api.get(f"categories/{category}/", If_None_Match='"1"')
    assert (answer.status_code, answer.json()["task_count"]) == (200, 1)


def test_refusals_come_first(api: Api) -> None:
    assert api.get("tasks/?nonsense=1", If_None_Match="*").status_code == 400
    assert Api().get("tasks/", If_None_Match="*").status_code == 401
    task = api.post("tasks/", {"title": "Milk"}).json()["id"]
    assert Api(person("mallory")).get(f"tasks/{task}/", If_None_Match="*").status_code == 404


@pytest.mark.parametrize("path", [*LISTS, "task"])
def test_what_is_no_entity_tag_is_refused(api: Api, path: str) -> None:
    if path == "task":
        path = f"tasks/{api.post('tasks/', {'title': 'Milk'}).json()['id']}/"
    answer = api.get(path, If_None_Match="1")
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")
