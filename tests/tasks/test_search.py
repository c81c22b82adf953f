"""Full-text search: one table of what is found, the same on both databases, however many finds there are."""

import itertools
import string
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
import time_machine
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

import contract
from cast import Api, adam, alice, bob, faults, undone
from duely.core.clock import now
from duely.tasks import actions, statements
from duely.tasks.models import Task, TaskWords
from duely.tasks.words import (
    GAP,
    MAX_MARKS,
    MAX_SAME,
    MAX_WORDS,
    MOST_SIGNS,
    Term,
    _Signs,
    indexed_words,
    parse_search,
    scope_of,
    words_of,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> Api:
    return Api(alice())


@pytest.fixture(autouse=True)
def as_documented() -> Iterator[None]:
    with contract.watch():
        yield


WAYS = {"few": {}, "more": {"FEWER": -1}, "many": {"FEW": -1}, "dense": {"DENSE": 0}}
"""The ways to the same answer: the finds looked up one by one or as a set, or each task asked."""


@pytest.fixture(params=WAYS)
def finds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the ways."""
    way: str = request.param
    for name, value in WAYS[way].items():
        monkeypatch.setattr(f"duely.tasks.search.{name}", value)
    return way


def made(api: Api, title: str, description: str = "", **fields: Any) -> dict[str, Any]:
    answer = api.post("tasks/", {"title": title, "description": description, **fields})
    assert answer.status_code == 201, answer.content
    task: dict[str, Any] = answer.json()
    return task


def titles(api: Api, search: str, **query: str) -> list[str]:
    more = "".join(f"&{name}={quote(value)}" for name, value in query.items())
    answer = api.get(f"tasks/?limit=100&ordering=title&search={quote(search)}{more}")
    assert answer.status_code == 200, answer.content
    return [task["title"] for task in answer.json()["data"]]


TASKS = {
    "Pay the rent": "Before the first of the month, by bank transfer",
    "Rent a car": "Ask for a child seat",
    "Call Zoë about the café": "She likes crème brûlée",
    "STRASSE fegen": "Straßenbesen kaufen",
    "Write e-mail to bob@example.org": "Re: v2.0 of the report-draft_final",
    "Łódź trip": "Søren, Ægir and Ülkü come too. İstanbul later",
    "東京タワーに行く": "カメラを持って行く",
    "ซื้อนม": "ไปตลาด",
    "한국어 숙제": "단어 외우기",
    "हिन्दी सीखना": "रोज़ पढ़ना",
    "Привет мир": "Ёлка",
    "🎉 party 👍🏽": "👨‍👩‍👧 come, 🇩🇪 too",
    "Milk": "milk milk Milk MILK",
    "Empty": "",
    "!!!": "...",
    "C++ & C#": "x² + y² = 2³, ½ price, № 5",
}
FOUND: dict[str, list[str]] = {
    # words, beginnings of words, any order, any case
    "rent": ["Pay the rent", "Rent a car"],
    "RENT": ["Pay the rent", "Rent a car"],
    "ren": ["Pay the rent", "Rent a car"],
    "ent": [],
    "rent pay": ["Pay the rent"],
    "transfer rent": ["Pay the rent"],
    "rent seat": ["Rent a car"],
    "rent seat milk": [],
    "the": ["Call Zoë about the café", "Pay the rent", "Write e-mail to bob@example.org"],
    "t": [
        "Call Zoë about the café",
        "Pay the rent",
        "Write e-mail to bob@example.org",
        "Łódź trip",
        "🎉 party 👍🏽",
    ],
    "rents": [],
    "ren*": ["Pay the rent", "Rent a car"],
    # accents and letters that are written in two ways
    "cafe": ["Call Zoë about the café"],
    "CAFÉ": ["Call Zoë about the café"],
    "cafe\u0301": ["Call Zoë about the café"],
    "zoe creme brulee": ["Call Zoë about the café"],
    "strasse": ["STRASSE fegen"],
    "straße": ["STRASSE fegen"],
    "strassenbesen": ["STRASSE fegen"],
    "lodz": ["Łódź trip"],
    "soren aegir ulku istanbul": ["Łódź trip"],
    "Æg": ["Łódź trip"],
    "елка": ["Привет мир"],
    "ПРИВЕТ": ["Привет мир"],
    # phrases
    '"the rent"': ["Pay the rent"],
    '"rent the"': [],
    '"the ren"': [],
    '"rent"': ["Pay the rent", "Rent a car"],
    '"ren"': [],
    '"first of the month"': ["Pay the rent"],
    '"rent before"': [],  # it begins in the title and ends in the description
    '"pay the" transfer': ["Pay the rent"],
    '"bank transfer': ["Pay the rent"],
    '"a car" "child seat"': ["Rent a car"],
    '"  PAY   the, rent! "': ["Pay the rent"],
    # what something else than a blank parts
    "e-mail": ["Write e-mail to bob@example.org"],
    "e-ma": ["Write e-mail to bob@example.org"],
    "bob@example.org": ["Write e-mail to bob@example.org"],
    "bob@example": ["Write e-mail to bob@example.org"],
    "v2.0": ["Write e-mail to bob@example.org"],
    "example.bob": [],
    "draft_final": ["Write e-mail to bob@example.org"],
    # what must not be there
    "rent -car": ["Pay the rent"],
    "-car rent": ["Pay the rent"],
    "rent -ca": ["Pay the rent", "Rent a car"],
    "rent -ca*": ["Pay the rent"],
    'rent -"child seat"': ["Pay the rent"],
    'rent -"seat child"': ["Pay the rent", "Rent a car"],
    "rent -rent": [],
    "milk -nothing": ["Milk"],
    "- milk": ["Milk"],
    "--milk -party": sorted(TASKS.keys() - {"Milk", "🎉 party 👍🏽"}),
    "-milk": sorted(TASKS.keys() - {"Milk"}),
    '-"pay the" -milk': sorted(TASKS.keys() - {"Milk", "Pay the rent"}),
    # scripts without blanks: any part of what is written
    "東京": ["東京タワーに行く"],
    "京タ": ["東京タワーに行く"],
    "タワー 行く": ["東京タワーに行く"],
    "京東": [],
    "ｶﾒﾗ": ["東京タワーに行く"],
    "か": [],
    "นม": ["ซื้อนม"],
    "ตลาด": ["ซื้อนม"],
    "한국": ["한국어 숙제"],
    "국어": [],
    "हिन्दी": ["हिन्दी सीखना"],
    "हिन": ["हिन्दी सीखना"],
    "हन": [],
    # signs that are words
    "🎉": ["🎉 party 👍🏽"],
    "👍": ["🎉 party 👍🏽"],
    "👍🏽": ["🎉 party 👍🏽"],
    "👍🏿": [],
    "👨‍👩‍👧": ["🎉 party 👍🏽"],
    "👧‍👩‍👨": [],
    "🇩🇪": ["🎉 party 👍🏽"],
    "🇪🇩": [],
    "-🎉 party": [],
    # numbers and their variants
    "x2": ["C++ & C#"],
    "x²": ["C++ & C#"],
    "1⁄2": ["C++ & C#"],
    "no": ["C++ & C#"],
    "c++": ["C++ & C#", "Call Zoë about the café", "Rent a car", "Łódź trip", "🎉 party 👍🏽"],
    '"c c"': ["C++ & C#"],
    # what databases make something of
    "rent & pay": ["Pay the rent"],
    "rent | pay": ["Pay the rent"],
    "rent OR pay": [],
    "rent AND pay": [],
    "rent NOT car": [],
    "NEAR(rent car)": [],
    "own : rent": [],
    "^rent": ["Pay the rent", "Rent a car"],
    "'rent':*": ["Pay the rent", "Rent a car"],
    "rent:A": ["Rent a car"],
    "rent:B": [],
    "rent'); DROP TABLE tasks_words; --": [],
    "%": [],
    "_": [],
    "r%t": [],
    "\\": [],
    "rent\\": ["Pay the rent", "Rent a car"],
    '""': [],
    "*": [],
}
NOTHING = ["!", "...", '""', "*", "-", "--", "%", "_", "\\", "+ - ( )", "\u200d", "\ufe0f"]
"""Searches without a word."""


@pytest.mark.parametrize("who", [alice, adam])
def test_the_table_of_what_is_found(finds: str, who: Any) -> None:
    api = Api(who())
    for title, description in TASKS.items():
        made(api, title, description)
    wrong = {}
    for search, expected in FOUND.items():
        if not parse_search(search):
            continue
        found = titles(api, search)
        if found != expected:
            wrong[search] = found
    assert not wrong


@pytest.mark.parametrize("search", NOTHING)
def test_a_search_without_a_word_is_refused(api: Api, search: str) -> None:
    answer = api.get(f"tasks/?search={quote(search)}")
    assert (answer.status_code, faults(answer)) == (400, {"search": "invalid_format"})


@pytest.mark.parametrize("search, code", [("", "invalid_format"), ("x" * 256, "invalid_format")])
def test_a_search_has_1_to_255_characters(api: Api, search: str, code: str) -> None:
    assert faults(api.get(f"tasks/?search={search}")) == {"search": code}


def test_a_search_has_at_most_16_terms(api: Api) -> None:
    words = [f"{first}{second}" for first in "abcdef" for second in "abcdef"]
    assert api.get(f"tasks/?search={'+'.join(words[:16])}").status_code == 200
    assert faults(api.get(f"tasks/?search={'+'.join(words[:17])}")) == {"search": "too_many"}
    assert api.get(f"tasks/?search={'+'.join(words[:1] * 80)}").status_code == 200


# Kept right by whatever changes a task


def test_an_edit_changes_what_finds_a_task(api: Api, finds: str) -> None:
    task = made(api, "Milk", "two bottles")
    path = f"tasks/{task['id']}/"
    api.patch(path, {"title": "Bread"})
    assert (titles(api, "milk"), titles(api, "bread"), titles(api, "bottles")) == ([], ["Bread"], ["Bread"])
    api.patch(path, {"description": "three loaves"})
    assert (titles(api, "bottles"), titles(api, "loaves bread")) == ([], ["Bread"])
    api.put(path, {"title": "Butter"})
    assert (titles(api, "loaves"), titles(api, "bread"), titles(api, "butter")) == ([], [], ["Butter"])


def test_an_edit_of_other_fields_leaves_the_words_alone(api: Api) -> None:
    task = made(api, "Milk")
    TaskWords.objects.update(scope="untouched")
    api.patch(f"tasks/{task['id']}/", {"priority": "high", "tags": ["shop"], "title": "Milk"})
    assert TaskWords.objects.get().scope == "untouched"


def test_a_task_in_the_trash_is_not_found(api: Api, finds: str) -> None:
    task = made(api, "Milk")
    api.delete(f"tasks/{task['id']}/")
    assert titles(api, "milk") == []


def test_words_go_with_their_task(api: Api) -> None:
    task = made(api, "Milk")
    api.delete(f"tasks/{task['id']}/")
    made(api, "Bread")
    assert actions.purge_trash(now=now() + timedelta(days=31)) == 1
    assert [row.task.title for row in TaskWords.objects.select_related("task")] == ["Bread"]
    assert titles(api, "milk") == []


def test_what_is_rolled_back_is_not_found(api: Api) -> None:
    task = made(api, "Milk")
    with undone():
        made(api, "Bread")
        api.patch(f"tasks/{task['id']}/", {"title": "Butter"})
        assert titles(api, "b") == ["Bread", "Butter"]
    assert (titles(api, "b"), titles(api, "milk")) == ([], ["Milk"])


def test_a_new_list_is_sent_when_a_search_finds_something_else(api: Api) -> None:
    task = made(api, "Milk")
    tag = api.get("tasks/?search=milk").headers["ETag"]
    assert api.get("tasks/?search=milk", If_None_Match=tag).status_code == 304
    assert api.get("tasks/?search=bread", If_None_Match=tag).status_code == 200
    api.patch(f"tasks/{task['id']}/", {"title": "Bread"})
    assert api.get("tasks/?search=milk", If_None_Match=tag).status_code == 200


# Whose


def test_each_finds_what_is_theirs_and_an_admin_all(api: Api, finds: str) -> None:
    other, boss = Api(bob()), Api(adam())
    made(api, "Milk of Alice")
    made(other, "Milk of Bob")
    assert titles(api, "milk") == ["Milk of Alice"]
    assert titles(other, "milk") == ["Milk of Bob"]
    assert titles(boss, "milk") == ["Milk of Alice", "Milk of Bob"]
    assert titles(boss, "milk", owner=str(other.user.id)) == ["Milk of Bob"]
    assert titles(api, "milk", owner=str(other.user.id)) == []


def test_the_words_of_a_scope_that_two_owners_share_tell_nothing(api: Api, finds: str) -> None:
    other = Api(bob())
    made(other, "Milk of Bob")
    TaskWords.objects.all().delete()
    task = Task.objects.get()
    task.owner_id = api.user.id  # as if both had the same scope
    statements.index_words([task]).run()
    assert titles(api, "milk") == []


def test_the_scope_of_an_owner_is_no_word(api: Api, finds: str) -> None:
    made(api, "Milk")
    scope = scope_of(api.user.id)
    for who in (api, Api(adam())):
        assert not [wanted for size in range(1, 13) if titles(who, wanted := scope[:size])]


# In lists


def test_a_search_goes_with_filters_orderings_and_pages(api: Api, finds: str) -> None:
    for number in range(25):
        made(api, f"Milk {number:02}", priority="high" if number % 5 == 0 else "low", due_date="2099-01-31")
        made(api, f"Bread {number:02}", priority="high")
    assert titles(api, "milk", priority="high") == [f"Milk {number:02}" for number in range(0, 25, 5)]
    names, cursor, pages = [], "", 0
    while cursor is not None:
        page = api.get(f"tasks/?search=milk&limit=7&ordering=-due_date,-title{cursor and '&cursor=' + cursor}").json()
        names += [task["title"] for task in page["data"]]
        cursor = page["pagination"]["next_cursor"]
        pages += 1
    assert pages == 4
    assert names == [f"Milk {number:02}" for number in range(24, -1, -1)]
    second = api.get("tasks/?search=milk&page=2&page_size=10&ordering=title").json()
    assert second["pagination"]["total"] == 25
    assert [task["title"] for task in second["data"]] == [f"Milk {number:02}" for number in range(10, 20)]
    numbered = api.get("tasks/?search=-milk&page=1").json()
    assert numbered["pagination"]["total"] == 25


def test_a_cursor_belongs_to_its_search(api: Api) -> None:
    for _ in range(3):
        made(api, "Milk")
    cursor = api.get("tasks/?search=milk&limit=1").json()["pagination"]["next_cursor"]
    assert api.get(f"tasks/?search=milk&limit=1&cursor={cursor}").status_code == 200
    for query in ("search=mil", "search=milk+-bread", "limit=1"):
        answer = api.get(f"tasks/?{query}&cursor={cursor}")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


@pytest.mark.parametrize("path", ["categories/?search=x", "activity-logs/?search=x"])
def test_other_lists_have_no_search(api: Api, path: str) -> None:
    assert faults(api.get(path)) == {"search": "unknown_parameter"}


# Long texts


def test_a_word_is_found_among_the_first_16000(api: Api, finds: str) -> None:
    words = ["".join(letters) for letters in itertools.product(string.ascii_lowercase, repeat=3)][: MAX_WORDS + 100]
    made(api, "Long", " ".join(words))
    last = words[MAX_WORDS - 3]  # the title is one, and the gap behind it
    assert indexed_words("Long", " ".join(words))[-1] == last
    assert titles(api, f'"{words[0]} {words[1]}"') == ["Long"]
    assert titles(api, f'"{words[MAX_WORDS - 4]} {last}"') == ["Long"]
    assert titles(api, words[MAX_WORDS - 2]) == []


def test_a_word_that_comes_often_is_found_in_phrases_255_times(api: Api, finds: str) -> None:
    made(api, "Often", " ".join(f"echo n{number}" for number in range(300)))
    assert titles(api, f'"echo n{MAX_SAME - 1}"') == ["Often"]
    assert titles(api, f'"echo n{MAX_SAME}"') == []
    assert titles(api, f"n{MAX_SAME} echo") == ["Often"]


def test_the_largest_description_of_all_kinds_is_kept(api: Api, finds: str) -> None:
    for text in ("x" * 65_536, "ab " * 21_845, "界" * 21_845, "🎉" * 16_384, "a1b " * 16_384):
        made(api, "Large", text)
    assert titles(api, "x" * 100) == ["Large"]
    assert titles(api, "ab") == ["Large"]
    assert titles(api, "界界界") == ["Large"]
    assert titles(api, "🎉") == ["Large"]


# The words themselves


def test_what_is_put_into_the_index() -> None:
    assert indexed_words("Pay the rent", "") == ["pay", "the", "rent", GAP]
    assert indexed_words("a", "b c") == ["a", GAP, "b", "c"]
    assert indexed_words("a") == ["a"]
    assert indexed_words("", "") == [GAP]
    assert not [word for word in words_of("·x·") if GAP in word]


def test_what_is_known_of_signs_does_not_grow_without_end_and_finds_new_ones() -> None:
    signs = _Signs()
    for code in range(2 * MOST_SIGNS + 100):
        assert signs[code] is not None
        assert code in signs
        assert len(signs) <= MOST_SIGNS


@pytest.mark.parametrize("mark", ["\u0315\u0300", "\u05b0\u05b1", "\u0f73", "\u0344"])
def test_of_combining_characters_in_a_row_thirty_count(mark: str) -> None:
    """To put them in order takes time with the square of their number."""
    few, many = (words_of(f"a{mark * number}b c{mark} d") for number in (MAX_MARKS, 100_000))
    assert few == many
    assert few[-1] == "d"
    assert words_of(f"x {mark * 100_000}")[0] == "x"


def test_terms() -> None:
    assert parse_search('pay "next  Month" -car -ca* "x') == (
        Term(("pay",), is_prefix=True),
        Term(("next", "month")),
        Term(("car",), is_excluded=True),
        Term(("ca",), is_prefix=True, is_excluded=True),
        Term(("x",)),
    )
    assert parse_search("a a A") == (Term(("a",), is_prefix=True),)
    assert parse_search('x"y z"w') == (
        Term(("x",), is_prefix=True),
        Term(("y", "z")),
        Term(("w",), is_prefix=True),
    )


LETTERS = "aäAb ß1-'\"*·東🎉\u0301\u200d.é"


def is_found(text: str, terms: tuple[Term, ...]) -> bool:
    """What a search means, in five lines and without a database."""

    def stands(term: Term, place: int) -> bool:
        found = words[place : place + len(term.words)]
        last = found and term.is_prefix and found[-1].startswith(term.words[-1])
        return found == [*term.words] or bool(last and found == [*term.words[:-1], found[-1]])

    words = indexed_words(text, "")
    return all(any(stands(term, place) for place in range(len(words))) != term.is_excluded for term in terms)


def test_the_database_finds_what_a_search_means(finds: str) -> None:
    api = Api(alice())

    @settings(max_examples=60, deadline=None, database=None)
    @given(
        st.lists(st.text(LETTERS, min_size=1, max_size=12), min_size=1, max_size=6),
        st.lists(st.text(LETTERS + "- ", min_size=1, max_size=8), min_size=1, max_size=4),
    )
    def check(texts: list[str], searches: list[str]) -> None:
        with undone():
            named = {made(api, text)["title"]: text for text in texts if text.strip("- ") and text.strip()}
            for search in searches:
                if terms := parse_search(search):
                    expected = {title for title in named if is_found(title, terms)}
                    assert set(titles(api, search)) == expected, (search, terms)

    check()


# What it costs


def test_a_search_costs_one_statement_more_than_a_list(api: Api, finds: str) -> None:
    made(api, "Milk")
    for search, number in (("milk -bread", 3), ("-bread", 2)):
        with CaptureQueriesContext(connection) as captured:
            assert titles(api, search) == ["Milk"]
        assert len(captured) == number


def test_the_words_of_old_tasks_are_found_by_the_migration(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for title, description in TASKS.items():
        made(api, title, description)
    before = sorted(TaskWords.objects.values_list("task_id", "scope", "words"))
    TaskWords.objects.all().delete()
    assert titles(api, "milk") == []
    migration = import_module("duely.tasks.migrations.0007_fill_words")
    monkeypatch.setattr(migration, "BATCH", 5)
    for _ in range(2):
        migration.fill(apps, SimpleNamespace(connection=connection))
    assert sorted(TaskWords.objects.values_list("task_id", "scope", "words")) == before
    assert titles(api, "milk") == ["Milk"]


def test_a_search_for_what_is_due(api: Api) -> None:
    made(api, "Milk", due_date="2030-01-31")
    made(api, "Milk later", due_date="2031-01-31")
    with time_machine.travel("2029-01-01"):
        assert titles(Api(api.user), "milk", due_date__lt="2031-01-01") == ["Milk"]
