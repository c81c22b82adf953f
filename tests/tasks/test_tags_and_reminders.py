"""Tags and reminders of tasks."""

from typing import Any
from urllib.parse import quote

import pytest

from cast import Api, alice, faults, log_of

pytestmark = pytest.mark.django_db


def made(api: Api, **fields: Any) -> dict[str, Any]:
    response = api.post("tasks/", {"title": "Milk", **fields})
    assert response.status_code == 201, response.content
    return response.json()


@pytest.mark.parametrize(
    "given, kept",
    [
        ([], []),
        (["work"], ["work"]),
        ([" work\t", "at home"], ["work", "at home"]),
        (["Home", "HOME", "work", "home "], ["Home", "work"]),
        (["Ärger", "ÄRGER"], ["Ärger"]),
        (["straße", "STRASSE"], ["straße"]),
        (["日本語", "👨‍👩‍👧"], ["日本語", "👨‍👩‍👧"]),
        (["x" * 50], ["x" * 50]),
        ([f"tag {number}" for number in range(20)], [f"tag {number}" for number in range(20)]),
        (["a", "A"] * 10, ["a"]),
        (["b", "a"], ["b", "a"]),
    ],
)
def test_tags_are_kept_in_order_and_once_for_every_case(given: list[str], kept: list[str]) -> None:
    me = Api(alice())
    task = made(me, tags=given)
    assert task["tags"] == kept
    assert me.get(f"tasks/{task['id']}/").json()["tags"] == kept


@pytest.mark.parametrize(
    "tags, code",
    [
        ("work", "invalid_type"),
        ({"work": True}, "invalid_type"),
        (None, "invalid_type"),
        ([5], "invalid_type"),
        ([None], "invalid_type"),
        ([["work"]], "invalid_type"),
        ([""], "required"),
        (["work", " "], "required"),
        (["x" * 51], "too_long"),
        (["a,b"], "invalid_format"),
        (["a\nb"], "invalid_format"),
        (["a\x00b"], "invalid_format"),
        ([f"tag {number}" for number in range(21)], "too_many"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_other_tags_are_refused(method: str, tags: Any, code: str) -> None:
    me = Api(alice())
    path = "tasks/" if method == "POST" else f"tasks/{made(me)['id']}/"
    response = me.call(method, path, {"title": "Milk", "tags": tags})
    assert response.status_code == 400
    assert faults(response) == {"tags": code}


@pytest.mark.parametrize(
    "tag", ["home", "Ärger", "straße", "日本語", "👨‍👩‍👧", "買い物　リスト", 'a"b', "a'b", "a\\b", "100%", "a b"]
)
def test_every_tag_that_a_task_may_have_can_be_looked_for_in_any_case(tag: str) -> None:
    me = Api(alice())
    task, other = made(me, tags=["first", tag]), made(me, tags=["x"])
    for spelling in (tag, tag.upper(), tag.casefold()):
        found = me.get(f"tasks/?tag={quote(spelling)}")
        assert found.status_code == 200, found.content
        assert [item["id"] for item in found.json()["data"]] == [task["id"]]
        without = me.get(f"tasks/?tag__ne={quote(spelling)}")
        assert [item["id"] for item in without.json()["data"]] == [other["id"]]


def test_part_of_a_tag_finds_nothing() -> None:
    me = Api(alice())
    made(me, tags=["homework", "work home"])
    assert me.get("tasks/?tag=home").json()["data"] == []
    assert me.get("tasks/?tag=%25").json()["data"] == []


def test_a_tag_in_another_case_is_a_change_that_is_kept() -> None:
    me = Api(alice())
    task = made(me, tags=["home"])
    assert me.patch(f"tasks/{task['id']}/", {"tags": ["HOME"]}).json()["tags"] == ["HOME"]
    assert log_of(me.user)[-1] == ("task.updated", {"tags": [["home"], ["HOME"]]})


@pytest.mark.parametrize(
    "given, kept",
    [
        ([], []),
        (["-PT30M", "-P1D"], ["-PT30M", "-P1D"]),
        (["-pt30m", "-PT30M"], ["-PT30M"]),
        (["2026-01-31T10:00:00+02:00"], ["2026-01-31T08:00:00.000Z"]),
        (["2026-01-31T08:00:00Z", "2026-01-31T09:00:00+01:00"], ["2026-01-31T08:00:00.000Z"]),
        (["2026-01-31T08:00:00.123456Z"], ["2026-01-31T08:00:00.123Z"]),
        ([f"-PT{minutes}M" for minutes in range(10)], [f"-PT{minutes}M" for minutes in range(10)]),
        (["-PT5M"] * 10, ["-PT5M"]),
    ],
)
def test_reminders_are_kept_in_one_form_and_once(given: list[str], kept: list[str]) -> None:
    me = Api(alice())
    task = made(me, reminders=given)
    assert task["reminders"] == kept
    assert me.get(f"tasks/{task['id']}/").json()["reminders"] == kept


@pytest.mark.parametrize(
    "reminders, code",
    [
        ("-PT30M", "invalid_type"),
        (None, "invalid_type"),
        ({}, "invalid_type"),
        ([30], "invalid_reminder"),
        ([None], "invalid_reminder"),
        ([""], "invalid_reminder"),
        (["PT30M"], "invalid_reminder"),
        (["-PT30S"], "invalid_reminder"),
        (["-P367D"], "invalid_reminder"),
        (["2026-01-31"], "invalid_reminder"),
        (["2026-01-31T08:00:00"], "invalid_reminder"),
        (["-PT5M", "soon"], "invalid_reminder"),
        ([f"-PT{minutes}M" for minutes in range(11)], "too_many"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_other_reminders_are_refused(method: str, reminders: Any, code: str) -> None:
    me = Api(alice())
    path = "tasks/" if method == "POST" else f"tasks/{made(me)['id']}/"
    response = me.call(method, path, {"title": "Milk", "reminders": reminders})
    assert response.status_code == 400
    assert faults(response) == {"reminders": code}
