"""Two tenants and an admin do whatever they like; after each step everyone sees what a small model says, and no more.

`DUELY_TEST_EXAMPLES` multiplies the number of runs.
"""

import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from django.test import Client
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import contract
from cast import bearer, person

TENANTS = ("alice", "bob")
EVERYONE = (*TENANTS, "adam")
STATUSES = ("pending", "in_progress", "completed", "cancelled")
DAYS = (None, "2030-06-14", "2030-06-15", "2030-06-16", "2030-06-15T10:00:00.000Z", "2030-06-14T23:30:00.000Z")
ZONES = ("UTC", "Pacific/Kiritimati", "America/Los_Angeles")
MILLISECOND = timedelta(milliseconds=1)
FIELDS = ("owner", "title", "status", "completed", "category", "due_date", "tags", "version", "created_at")


@dataclass
class Model:
    """What should be there: plain dictionaries and no database."""

    zones: dict[str, str]
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    trash: dict[str, dict[str, Any]] = field(default_factory=dict)
    categories: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: dict[str, list[tuple[str, str, str]]] = field(default_factory=lambda: {name: [] for name in EVERYONE})

    def seen(self, who: str, things: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {key: thing for key, thing in things.items() if who in ("adam", thing["owner"])}

    def record(self, who: str, action: str, key: str, owner: str) -> None:
        self.log[owner].append((action, key, who))

    def edit(self, who: str, key: str, **fields: Any) -> None:
        task = self.tasks[key]
        changed = {name: value for name, value in fields.items() if task[name] != value}
        if changed:
            task |= {**changed, "version": task["version"] + 1}
            task["completed"] = task["status"] == "completed"
            self.record(who, "task.status_changed" if "status" in changed else "task.updated", key, task["owner"])

    def place(self, task: dict[str, Any]) -> datetime | None:
        """Where a due date stands on the one time line: a day ends with the day in the owner's zone."""
        due = task["due_date"]
        if due is None or len(due) > 10:
            return due and datetime.fromisoformat(due)
        return self.start_of(due, task["owner"], days=1) - MILLISECOND

    def start_of(self, day: str, who: str, days: int = 0) -> datetime:
        return datetime.combine(date.fromisoformat(day) + timedelta(days), time.min, ZoneInfo(self.zones[who]))


class TwoTenants(RuleBasedStateMachine):
    """Rules are what people do, the invariants what must hold after each."""

    def __init__(self) -> None:
        super().__init__()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.people = {name: person(name, role="admin" if name == "adam" else "member") for name in EVERYONE}
        self.names = {str(user.id): name for name, user in self.people.items()}
        self.headers = {name: bearer(user) for name, user in self.people.items()}
        self.model = Model(dict.fromkeys(EVERYONE, "UTC"))
        self.client = Client()
        self.client.handler = HANDLER
        self.steps = 0

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)

    def call(self, who: str, method: str, path: str, body: Any = None) -> Any:
        options: dict[str, Any] = {"data": body, "content_type": "application/json"} if body is not None else {}
        whole = f"/api/v1/{path}"
        response = getattr(self.client, method)(whole, headers=self.headers[who], **options)
        contract.check(method.upper(), whole.partition("?")[0], response)
        return response

    def pages(self, who: str, path: str, limit: int) -> list[dict[str, Any]]:
        """All items of a list, page by page."""
        mark = "&" if "?" in path else "?"
        items: list[dict[str, Any]] = []
        cursor = ""
        while True:
            answer = self.call(who, "get", f"{path}{mark}limit={limit}{cursor}").json()
            items += answer["data"]
            if not answer["pagination"]["has_more"]:
                return items
            cursor = f"&cursor={answer['pagination']['next_cursor']}"

    def numbered(self, who: str, path: str, size: int) -> list[dict[str, Any]]:
        """The same by page number."""
        items: list[dict[str, Any]] = []
        number = 0
        while True:
            number += 1
            answer = self.call(who, "get", f"{path}?page={number}&page_size={size}").json()
            items += answer["data"]
            if not answer["pagination"]["has_more"]:
                assert answer["pagination"]["total"] == len(items)
                return items

    def pick(self, things: dict[str, Any], number: int) -> str:
        """One of these by number, of whomever it is; an id of nothing when there is none."""
        return sorted(things)[number % len(things)] if things else str(uuid4())

    def plain(self, item: dict[str, Any]) -> dict[str, Any]:
        """An answer's object as the model keeps it."""
        return {name: self.names[item[name]] if name == "owner" else item[name] for name in FIELDS}

    # What people do

    @initialize()
    def begin(self) -> None:
        for who in TENANTS:
            self.make_category(who, "Home")
            self.make_task(who, f"Task of {who}", "pending", "2030-06-15", None, who)

    @rule(
        who=st.sampled_from(EVERYONE),
        title=st.sampled_from(("Milk", "Zoo", "abc", "Ärger")),
        status=st.sampled_from(STATUSES),
        due=st.sampled_from(DAYS),
        category=st.none() | st.integers(0, 9),
        owner=st.sampled_from(EVERYONE),
    )
    def make_task(self, who: str, title: str, status: str, due: str | None, category: int | None, owner: str) -> None:
        body: dict[str, Any] = {"title": title, "status": status, "due_date": due, "tags": [title]}
        drawer = self.pick(self.model.categories, category) if category is not None else None
        body["category"] = drawer
        if owner != who:
            body["owner"] = str(self.people[owner].id)
        response = self.call(who, "post", "tasks/", body)
        if owner != who != "adam":
            assert response.status_code == 403
        elif drawer and self.model.categories.get(drawer, {}).get("owner") != owner:
            assert response.status_code == 400
        else:
            assert response.status_code == 201
            made = response.json()
            self.model.tasks[made["id"]] = {
                "owner": owner,
                "title": title,
                "status": status,
                "completed": status == "completed",
                "category": drawer,
                "due_date": due,
                "tags": [title],
                "version": 1,
                "created_at": made["created_at"],
            }
            self.model.record(who, "task.created", made["id"], owner)

    @rule(
        who=st.sampled_from(EVERYONE),
        number=st.integers(0, 9),
        fields=st.fixed_dictionaries(
            {},
            optional={
                "title": st.sampled_from(("Milk", "Bread")),
                "status": st.sampled_from(STATUSES),
                "due_date": st.sampled_from(DAYS),
                "tags": st.sampled_from(([], ["Milk"], ["x", "y"])),
            },
        ),
    )
    def edit_task(self, who: str, number: int, fields: dict[str, Any]) -> None:
        key = self.pick(self.model.tasks, number)
        response = self.call(who, "patch", f"tasks/{key}/", fields)
        if key in self.model.seen(who, self.model.tasks):
            assert response.status_code == 200
            self.model.edit(who, key, **fields)
        else:
            assert response.status_code == 404

    @rule(who=st.sampled_from(EVERYONE), number=st.integers(0, 9), drawer=st.none() | st.integers(0, 9))
    def move_task(self, who: str, number: int, drawer: int | None) -> None:
        key = self.pick(self.model.tasks, number)
        category = self.pick(self.model.categories, drawer) if drawer is not None else None
        response = self.call(who, "patch", f"tasks/{key}/", {"category": category})
        if key not in self.model.seen(who, self.model.tasks):
            assert response.status_code == 404
        elif category and self.model.categories.get(category, {}).get("owner") != self.model.tasks[key]["owner"]:
            assert response.status_code == 400
        else:
            assert response.status_code == 200
            self.model.edit(who, key, category=category)

    @rule(who=st.sampled_from(EVERYONE), number=st.integers(0, 9))
    def delete_task(self, who: str, number: int) -> None:
        key = self.pick(self.model.tasks, number)
        response = self.call(who, "delete", f"tasks/{key}/")
        if key in self.model.seen(who, self.model.tasks):
            assert response.status_code == 204
            self.model.trash[key] = task = self.model.tasks.pop(key)
            self.model.record(who, "task.deleted", key, task["owner"])
        else:
            assert response.status_code == 404

    @rule(who=st.sampled_from(EVERYONE), number=st.integers(0, 9))
    def restore_task(self, who: str, number: int) -> None:
        key = self.pick({**self.model.trash, **self.model.tasks}, number)
        response = self.call(who, "post", f"tasks/{key}/restore/")
        if key in self.model.seen(who, self.model.trash):
            assert response.status_code == 200
            self.model.tasks[key] = task = self.model.trash.pop(key)
            task |= {"version": response.json()["version"]}
            self.model.record(who, "task.restored", key, task["owner"])
        else:
            assert response.status_code == (409 if key in self.model.seen(who, self.model.tasks) else 404)

    @rule(
        who=st.sampled_from(EVERYONE),
        numbers=st.lists(st.integers(0, 9), min_size=1, max_size=4),
        title=st.sampled_from(("Milk", "Jam")),
        atomic=st.booleans(),
    )
    def rename_many(self, who: str, numbers: list[int], title: str, atomic: bool) -> None:
        keys = [self.pick(self.model.tasks, number) for number in numbers]
        operations = [{"op": "update", "id": key, "title": title} for key in keys]
        response = self.call(who, "post", "tasks/bulk/", {"operations": operations, "atomic": atomic})
        mine = [key for key in keys if key in self.model.seen(who, self.model.tasks)]
        if atomic and len(mine) < len(keys):
            assert response.status_code == 422
            return
        expected = [200 if key in mine else 404 for key in keys]
        assert [result["status"] for result in response.json()["results"]] == expected
        for key in mine:
            self.model.edit(who, key, title=title)

    @rule(who=st.sampled_from(EVERYONE))
    def delete_all(self, who: str) -> None:
        mine = sorted(key for key, task in self.model.tasks.items() if task["owner"] == who)
        assert self.call(who, "delete", "tasks/?confirm=true").json()["deleted"] == len(mine)
        for key in mine:
            self.model.trash[key] = self.model.tasks.pop(key)
            self.model.record(who, "task.deleted", key, who)

    @rule(who=st.sampled_from(EVERYONE), name=st.sampled_from(("Home", "home", "Work", "Garden")))
    def make_category(self, who: str, name: str) -> None:
        response = self.call(who, "post", "categories/", {"name": name})
        if self.is_taken(who, name):
            assert response.status_code == 409
        else:
            assert response.status_code == 201
            key = response.json()["id"]
            self.model.categories[key] = {"owner": who, "name": name}
            self.model.record(who, "category.created", key, who)

    @rule(who=st.sampled_from(EVERYONE), number=st.integers(0, 9), name=st.sampled_from(("Home", "Work", "Attic")))
    def rename_category(self, who: str, number: int, name: str) -> None:
        key = self.pick(self.model.categories, number)
        response = self.call(who, "patch", f"categories/{key}/", {"name": name})
        category = self.model.seen(who, self.model.categories).get(key)
        if category is None:
            assert response.status_code == 404
        elif self.is_taken(category["owner"], name, but=key):
            assert response.status_code == 409
        else:
            assert response.status_code == 200
            if category["name"] != name:
                category["name"] = name
                self.model.record(who, "category.updated", key, category["owner"])

    @rule(who=st.sampled_from(EVERYONE), number=st.integers(0, 9))
    def delete_category(self, who: str, number: int) -> None:
        key = self.pick(self.model.categories, number)
        response = self.call(who, "delete", f"categories/{key}/")
        if key not in self.model.seen(who, self.model.categories):
            assert response.status_code == 404
            return
        assert response.status_code == 204
        owner = self.model.categories.pop(key)["owner"]
        for task_key, task in sorted({**self.model.tasks, **self.model.trash}.items()):
            if task["category"] == key:
                task |= {"category": None}
                if task_key in self.model.tasks:
                    task["version"] += 1
                self.model.record(who, "task.updated", task_key, owner)
        self.model.record(who, "category.deleted", key, owner)

    @rule(who=st.sampled_from(TENANTS), zone=st.sampled_from(ZONES))
    def change_time_zone(self, who: str, zone: str) -> None:
        assert self.call(who, "patch", "profile/", {"time_zone": zone}).status_code == 200
        if self.model.zones[who] != zone:
            self.model.zones[who] = zone
            self.model.record(who, "user.profile_updated", str(self.people[who].id), who)

    @rule(who=st.sampled_from(TENANTS), whom=st.sampled_from(EVERYONE), role=st.sampled_from(("admin", "intern")))
    def reach_for_a_role(self, who: str, whom: str, role: str) -> None:
        response = self.call(who, "patch", f"users/{self.people[whom].id}/", {"role": role})
        assert response.status_code == (403 if who == whom else 404)

    def is_taken(self, owner: str, name: str, but: str = "") -> bool:
        others = (item for key, item in self.model.categories.items() if item["owner"] == owner and key != but)
        return any(item["name"].casefold() == name.casefold() for item in others)

    # What must hold

    @invariant()
    def everyone_sees_their_tasks(self) -> None:
        self.steps += 1
        for who in EVERYONE:
            expected = self.model.seen(who, self.model.tasks)
            in_order = sorted(expected, key=lambda key: (expected[key]["created_at"], key), reverse=True)
            shown = self.pages(who, "tasks/", 3) if self.steps % 2 else self.numbered(who, "tasks/", 3)
            assert [item["id"] for item in shown] == in_order
            assert {item["id"]: self.plain(item) for item in shown} == expected

    @invariant()
    def everyone_sees_their_trash(self) -> None:
        for who in EVERYONE:
            shown = self.pages(who, "tasks/trash/", 3)
            assert {item["id"] for item in shown} == self.model.seen(who, self.model.trash).keys()

    @invariant()
    def everyone_finds_what_is_theirs(self) -> None:
        for offset, who in enumerate(EVERYONE):
            word = ("milk", "ARGER", "task alice", "bread -milk", "abc")[(self.steps + offset) % 5]
            mine = self.model.seen(who, self.model.tasks)
            expected = {key for key, task in mine.items() if FINDS[word](task["title"])}
            assert {item["id"] for item in self.pages(who, f"tasks/?search={quote(word)}", 3)} == expected

    @invariant()
    def everyone_counts_what_is_theirs(self) -> None:
        for who in EVERYONE:
            mine = [task for task in self.model.tasks.values() if task["owner"] == who]
            counted = self.call(who, "get", "tasks/stats/").json()
            assert counted["total"] == len(mine)
            assert counted["by_status"]["completed"] == sum(task["completed"] for task in mine)
            inside = Counter(task["category"] for task in mine)
            assert {row["category"]: row["count"] for row in counted["by_category"]} == inside

    @invariant()
    def everyone_sees_what_a_filter_selects(self) -> None:
        filters = list(self.filters())
        for offset, who in enumerate(EVERYONE):
            for turn in range(2):
                query, selects = filters[(2 * self.steps + turn + offset) % len(filters)]
                expected = {key for key, task in self.model.seen(who, self.model.tasks).items() if selects(who, task)}
                shown = [item["id"] for item in self.pages(who, f"tasks/?{query(who)}", 4)]
                assert sorted(shown) == sorted(expected), (who, query(who))

    def filters(self) -> Any:
        """(query string for a caller, which tasks it selects)."""
        for status in ("pending", "completed"):
            yield (lambda who, s=status: f"status={s}"), (lambda who, task, s=status: task["status"] == s)
        yield (lambda who: "status=todo,in_progress"), (lambda who, task: task["status"] in ("pending", "in_progress"))
        yield (lambda who: "completed=false"), (lambda who, task: not task["completed"])
        yield (lambda who: "category__isnull=true"), (lambda who, task: task["category"] is None)
        yield (lambda who: "tag=MILK"), (lambda who, task: "Milk" in task["tags"])
        yield (lambda who: "due_date__isnull=false"), (lambda who, task: task["due_date"] is not None)
        for name in TENANTS:
            yield (
                (lambda who, n=name: f"owner={self.people[n].id}"),
                (lambda who, task, n=name: task["owner"] == n),
            )
        for key in [*self.model.categories][:3]:
            yield (lambda who, k=key: f"category={k}"), (lambda who, task, k=key: task["category"] == k)
        yield (
            (lambda who: "due_date=2030-06-15"),
            (lambda who, task: self.on_day(task, who, "2030-06-15")),
        )
        yield (
            (lambda who: "due_date__lt=2030-06-15"),
            (lambda who, task: (at := self.model.place(task)) and at < self.model.start_of("2030-06-15", who)),
        )

    def on_day(self, task: dict[str, Any], who: str, day: str) -> bool:
        at = self.model.place(task)
        return at is not None and self.model.start_of(day, who) <= at < self.model.start_of(day, who, days=1)

    @invariant()
    def tasks_are_ordered_on_one_time_line(self) -> None:
        who = EVERYONE[self.steps % 3]
        tasks = self.model.seen(who, self.model.tasks)
        places = {key: self.model.place(task) for key, task in tasks.items()}
        dated = sorted((place, key) for key, place in places.items() if place is not None)
        undated = sorted(key for key, place in places.items() if place is None)
        shown = [item["id"] for item in self.pages(who, "tasks/?ordering=due_date", 2)]
        assert shown == [key for _, key in dated] + undated

    @invariant()
    def everyone_sees_their_categories(self) -> None:
        inside = Counter(task["category"] for task in self.model.tasks.values())
        for who in EVERYONE:
            shown = {item["id"]: item for item in self.pages(who, "categories/", 3)}
            expected = self.model.seen(who, self.model.categories)
            assert {key: (self.names[item["owner"]], item["name"]) for key, item in shown.items()} == {
                key: (item["owner"], item["name"]) for key, item in expected.items()
            }
            assert {key: item["task_count"] for key, item in shown.items()} == {key: inside[key] for key in expected}

    @invariant()
    def what_can_be_read_is_what_is_listed(self) -> None:
        who = EVERYONE[self.steps % 3]
        mine = self.model.seen(who, self.model.tasks)
        for key in [*self.model.tasks, *self.model.trash]:
            response = self.call(who, "get", f"tasks/{key}/")
            assert response.status_code == (200 if key in mine else 404)
            if key in mine:
                assert self.plain(response.json()) == mine[key]
        for key in self.model.categories:
            expected = 200 if key in self.model.seen(who, self.model.categories) else 404
            assert self.call(who, "get", f"categories/{key}/").status_code == expected

    @invariant()
    def everyone_sees_their_log(self) -> None:
        for who in TENANTS:
            shown = self.pages(who, "activity-logs/?ordering=seq", 100)
            assert [item["seq"] for item in shown] == [*range(1, len(shown) + 1)]
            assert [self.entry(item) for item in shown] == self.model.log[who]
        shown = self.pages("adam", "activity-logs/", 100)
        everything = [entry for entries in self.model.log.values() for entry in entries]
        assert Counter(map(self.entry, shown)) == Counter(everything)

    def entry(self, item: dict[str, Any]) -> tuple[str, str, str]:
        return item["action"], item["target"]["id"], self.names[item["actor"]["id"]]

    @invariant()
    def nobody_has_another_role(self) -> None:
        for who in EVERYONE:
            assert self.call(who, "get", "users/me/").json()["role"] == ("admin" if who == "adam" else "member")


FINDS = {
    "milk": lambda title: title == "Milk",
    "ARGER": lambda title: title == "Ärger",
    "task alice": lambda title: title == "Task of alice",
    "bread -milk": lambda title: title == "Bread",
    "abc": lambda title: title == "abc",
}
HANDLER = Client().handler
EXAMPLES = 6
STEPS = 16


@pytest.mark.slow
@pytest.mark.django_db
def test_everyone_sees_exactly_what_is_theirs() -> None:
    run_state_machine_as_test(
        TwoTenants,
        settings=settings(
            max_examples=EXAMPLES * int(os.environ.get("DUELY_TEST_EXAMPLES", "1")),
            stateful_step_count=STEPS,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
