"""The pages that people see: `/`, the page behind mailed links, and the page that ends reminders."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

from cast import new_token, person
from duely.accounts.actions import InvalidToken
from duely.core.errors import AlreadyExists
from duely.notifications import links
from duely.notifications.rules import Kind

pytestmark = pytest.mark.django_db

VOID = {"meta", "link", "input", "img", "br"}


class Elements(HTMLParser):
    """Every element with its attributes, and the text of the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def having(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def page_at(path: str, status: int = 200) -> Elements:
    answer = Client().get(path)
    assert answer.status_code == status
    return Elements(answer.content.decode())


def file_text(name: str) -> str:
    path = finders.find(f"duely/{name}")
    assert isinstance(path, str)
    return Path(path).read_text(encoding="utf-8")


def paths() -> list[tuple[str, int]]:
    return [("/", 200), ("/verify-email/", 200), ("/unsubscribe/unknown/", 404)]


@pytest.mark.parametrize("path, status", paths())
def test_a_page_obeys_its_own_content_security_policy(path: str, status: int) -> None:
    page = page_at(path, status)

    assert [value for tag, value in page.elements if tag == "style" or (tag == "script" and "src" not in value)] == []
    assert [name for _, values in page.elements for name in values if name == "style" or name.startswith("on")] == []


@pytest.mark.parametrize("path, status", paths())
def test_every_control_has_a_name_and_every_reference_an_aim(path: str, status: int) -> None:
    page = page_at(path, status)
    ids = page.having("id")

    assert len(ids) == len(set(ids))
    fields = [value for tag, value in page.elements if tag == "input"]
    assert {value["id"] for value in fields} <= set(page.having("for"))
    for name in ("for", "aria-describedby"):
        assert set(" ".join(page.having(name)).split()) <= set(ids)
    assert len([tag for tag, _ in page.elements if tag == "h1"]) == max(1, len(page.having("data-view")))


def test_the_link_page_offers_two_ways_and_says_what_each_does() -> None:
    page = page_at("/verify-email/")

    assert "Confirm with my password" in page.text
    assert "I have no password, or I did not choose it" in page.text
    assert page.text.index("it is removed") < page.text.index("Confirm and remove the password")
    assert "status" in page.having("role")
    assert "alert" in page.having("role")


def test_the_link_page_says_without_javascript_that_it_needs_it() -> None:
    page = page_at("/verify-email/")
    views = [values for _, values in page.elements if "data-view" in values]

    (shown,) = [values for values in views if "hidden" not in values]
    assert shown["data-view"] == "without-script"
    assert "This page needs JavaScript" in page.text


def test_the_script_of_the_link_page_finds_what_it_looks_for() -> None:
    page, script = page_at("/verify-email/"), file_text("verify-email.js")

    used = re.findall(r'getElementById\("([^"]+)"\)', script)
    assert used
    assert set(used) <= set(page.having("id"))
    views = re.findall(r'show\("([^"]+)"\)|"([a-z-]+)" : "([a-z-]+)"', script)
    named = {name for groups in views for name in groups if name} | set(page.having("data-show"))
    assert {"done", "done-without", "ask", "ask-without", "incomplete", "nothing"} <= named
    (messages,) = [values for _, values in page.elements if values.get("id") == "faults"]
    assert {f"data-{name}" for name in re.findall(r"faults\.([a-z]+)", script)} == set(messages) - {"hidden", "id"}
    assert named <= set(page.having("data-view"))
    assert {InvalidToken.code, AlreadyExists.code} <= set(page.having("data-view"))


def test_a_link_without_its_slash_leads_to_the_page() -> None:
    answer = Client().get("/verify-email?source=mail")

    assert (answer.status_code, answer["Location"]) == (302, "/verify-email/?source=mail")
    assert Client().post("/verify-email").status_code == 405


def test_the_link_page_knows_a_whole_token() -> None:
    (pattern,) = page_at("/verify-email/").having("data-token")
    token = new_token(person("alice"), "verify_email")

    assert re.fullmatch(pattern, token)
    assert not re.fullmatch(pattern, token[:-1])


@pytest.mark.parametrize("kind", list(Kind))
def test_the_page_that_ends_mails_asks_first(kind: Kind) -> None:
    user: Any = person("alice")

    page = page_at(links.path(kind, user.pk))

    assert "Unsubscribe" in page.text
    assert user.email in page.text
    assert [values.get("method") for tag, values in page.elements if tag == "form"] == ["post"]


def test_an_unknown_link_that_ends_mails_says_what_to_do() -> None:
    page = page_at("/unsubscribe/unknown/", 404)

    assert "Open it from the mail again" in page.text


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


TEXT = [
    *((text, ground) for ground in ("paper", "raised", "sunken") for text in ("ink", "soft", "accent", "red")),
    *(("on-accent", "accent"), ("on-red", "red"), ("ink", "amber-ground")),
]
EDGES = [("edge", "paper"), ("edge", "raised")]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("text, ground", [*TEXT, *EDGES])
def test_the_colours_of_the_pages_have_enough_contrast(theme: int, text: str, ground: str) -> None:
    block = re.findall(r":root \{(.*?)\}", file_text("home.css"), re.DOTALL)[theme]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))

    assert contrast(colours[text], colours[ground]) >= (3 if (text, ground) in EDGES else 4.5)
