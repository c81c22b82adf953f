"""Names of categories and tags are compared in one Unicode form, also those from before there was one."""

import unicodedata
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from django.apps import apps
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from cast import Api, alice, bob, log_of
from duely.core.names import MAX_NORMAL, fold
from duely.tasks.models import Category, Task
from duely.tasks.rules import MAX_KEY, folded

migration: Any = import_module("duely.tasks.migrations.0016_normal_names")

SPELLINGS = [
    ("Café", "cafe\u0301"),
    ("ＨＯＭＥ", "home"),
    ("ﬁnance", "FINANCE"),
    ("ガス", "ｶﾞｽ"),
    ("m²", "M2"),
    ("Straße", "STRASSE"),
    ("ά", "Ά"),
    ("한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),
    ("❤\ufe0f", "❤"),
    ("№ 5", "no 5"),
]
DIFFERENT = [("home", "house"), ("resume", "résumé"), ("カス", "ガス"), ("a b", "ab"), ("O", "0")]


@pytest.mark.parametrize("first, second", SPELLINGS)
def test_two_spellings_of_a_name_are_the_same(first: str, second: str) -> None:
    assert folded(first) == folded(second)


@pytest.mark.parametrize("first, second", DIFFERENT)
def test_different_names_stay_different(first: str, second: str) -> None:
    assert folded(first) != folded(second)


@given(st.text(max_size=100))
def test_the_key_of_any_name_fits_its_column(name: str) -> None:
    assert len(folded(name)) <= MAX_KEY
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert folded(unicodedata.normalize(form, name)) == folded(name)


def test_a_very_long_text_is_not_normalised() -> None:
    assert fold("É" * (MAX_NORMAL + 1)) == "é" * (MAX_NORMAL + 1)
    assert len(folded("\ufdfa" * 100)) == MAX_KEY


@pytest.mark.django_db
@pytest.mark.parametrize("first, second", SPELLINGS)
def test_a_category_is_found_by_every_spelling(first: str, second: str) -> None:
    me = Api(alice())
    category = me.post("categories/", {"name": first}).json()
    assert category["name"] == first
    refused = me.post("categories/", {"name": second})
    assert (refused.status_code, refused.json()["code"]) == (409, "already_exists")
    assert [row["id"] for row in me.get(f"categories/?name={quote(second)}").json()["data"]] == [category["id"]]
    quick = me.post("tasks/quick/", {"text": f"Pay #{second}", "preview": True}).json()
    assert quick["title"] == "Pay"
    assert [(span["field"], span["value"]) for span in quick["spans"]] == [("category", category["id"])]


@pytest.mark.django_db
@pytest.mark.parametrize("first, second", SPELLINGS)
def test_a_tag_is_found_by_every_spelling(first: str, second: str) -> None:
    me = Api(alice())
    task = me.post("tasks/", {"title": "Milk", "tags": [first, second]}).json()
    assert task["tags"] == [first]
    other = me.post("tasks/", {"title": "Bread", "tags": ["other"]}).json()
    assert [row["id"] for row in me.get(f"tasks/?tag={quote(second)}").json()["data"]] == [task["id"]]
    assert [row["id"] for row in me.get(f"tasks/?tag__ne={quote(second)}").json()["data"]] == [other["id"]]


def as_before(name: str) -> str:
    return name.casefold()


def old_category(owner: Any, name: str) -> Category:
    made = Api(owner).post("categories/", {"name": f"new {name}"}).json()
    Category.objects.filter(pk=made["id"]).update(name=name, name_key=as_before(name))
    return Category.objects.get(pk=made["id"])


def old_task(owner: Any, *tags: str) -> Task:
    made = Api(owner).post("tasks/", {"title": "Milk"}).json()
    Task.objects.filter(pk=made["id"]).update(tags=list(tags), tag_keys=[as_before(tag) for tag in tags])
    return Task.objects.get(pk=made["id"])


def migrate() -> None:
    migration.fold_categories(apps, SimpleNamespace(connection=connection))
    migration.fold_tags(apps, SimpleNamespace(connection=connection))


@pytest.mark.django_db
@pytest.mark.parametrize("batch", [1, 3, 500])
def test_names_from_before_are_found_after_the_migration(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "BATCH", batch)
    monkeypatch.setattr(migration, "SCANNED", batch)
    user = alice()
    categories = [old_category(user, first) for first, _ in SPELLINGS]
    tasks = [old_task(user, "plain", first) for first, _ in SPELLINGS]
    plain = old_task(user, "plain")
    for _ in range(2):
        migrate()
    for category, task, (first, second) in zip(categories, tasks, SPELLINGS, strict=True):
        assert Category.objects.get(pk=category.pk).name == first
        assert Task.objects.get(pk=task.pk).tags == ["plain", first]
        me = Api(user)
        assert [row["id"] for row in me.get(f"categories/?name={quote(second)}").json()["data"]] == [str(category.pk)]
        assert [row["id"] for row in me.get(f"tasks/?tag={quote(second)}").json()["data"]] == [str(task.pk)]
    assert Task.objects.get(pk=plain.pk).version == 1
    assert migration.key_of("Ｘﬁ") == folded("Ｘﬁ")


@pytest.mark.django_db
def test_of_two_categories_with_one_name_both_stay() -> None:
    user, other = alice(), bob()
    older, newer, plain = (old_category(user, name) for name in ("Ｈome", "Ｈｏme", "Garden"))
    taken, has_it = old_category(user, "ⅰx"), old_category(user, "ix")
    of_another = old_category(other, "Ｈome")
    task = Api(user).post("tasks/", {"title": "Milk", "category": str(newer.pk)}).json()
    before = len(log_of(user))
    for _ in range(2):
        migrate()
    keys = {row.pk: row.name_key for row in Category.objects.all()}
    assert keys == {
        older.pk: "home",
        newer.pk: as_before("Ｈｏme"),
        plain.pk: "garden",
        taken.pk: as_before("ⅰx"),
        has_it.pk: "ix",
        of_another.pk: "home",
    }
    me = Api(user)
    assert me.get(f"tasks/{task['id']}/").json()["category"] == str(newer.pk)
    assert [row["id"] for row in me.get(f"categories/?name={quote('Ｈｏme')}&ordering=created_at").json()["data"]] == [
        str(older.pk),
        str(newer.pk),
    ]
    assert len(log_of(user)) == before
    # The one without the form can be edited, and renamed to something else, though not to the name of the other one.
    assert me.put(f"categories/{newer.pk}/", {"name": "Ｈｏme", "color": "#112233"}).status_code == 200
    assert me.patch(f"categories/{newer.pk}/", {"name": "Home"}).status_code == 409
    assert me.patch(f"categories/{newer.pk}/", {"name": "House"}).status_code == 200


@pytest.mark.django_db
def test_what_the_release_before_writes_is_found() -> None:
    user = alice()
    category, task = old_category(user, "Ｈome"), old_task(user, "Ｈome")
    for spelling in ("Ｈome", "Ｈｏｍｅ".replace("ｏｍｅ", "OME")):
        rows = Api(user).get(f"categories/?name={quote(spelling)}").json()["data"]
        assert [row["id"] for row in rows] == [str(category.pk)]
        rows = Api(user).get(f"tasks/?tag={quote(spelling)}").json()["data"]
        assert [row["id"] for row in rows] == [str(task.pk)]
