"""The task that a line of text stands for: its signs, its day, and the title that is left."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from typing import Any
from uuid import UUID

from duely.tasks.quick.due import due_spans
from duely.tasks.quick.spans import MASK, QUOTED, Span, Understood
from duely.tasks.rules import MAX_TAG_LENGTH, MAX_TAGS, Priority, folded

MAX_TEXT = 1000
MAX_NAME_WORDS = 10
_QUOTED = re.compile(
    r'"[^"]+"|\u201c[^\u201c\u201d]+\u201d|\u201e[^\u201e\u201c\u201d]+[\u201c\u201d]|\u00ab[^\u00ab\u00bb]+\u00bb|`[^`]+`'
    r"|(?<![\w'\u2019])['\u2018][^'\u2018\u2019]+['\u2019](?!\w)"
)
_TAG = re.compile(r"(?<!\S)@([^\s@#!,\x00]++)(?![@#]|!\w)")
_CLOCK = re.compile(r"\d{1,2}[:.]\d\d(?:[ap]m)?|\d{1,2}[ap]m|noon|midnight", re.IGNORECASE)
"""`@9am` is a time to most people and a tag to some: it stays in the title."""
_PRIORITY = re.compile(r"(?<!\S)!(low|medium|med|high|urgent)(?=[.,;:!?)]*+(?:[\s\x00]|$))", re.IGNORECASE)
_CATEGORY = re.compile(r"(?<!\S)#(?=\S)")
_TRAILING = ".,;:!?)"


def category_names(text: str) -> dict[int, list[tuple[int, str]]]:
    """Where a category may be named: the place of each `#`, with the ends and the folded names that may follow, longest
    first."""
    found = {}
    for match in _CATEGORY.finditer(text):
        ends = [match.start() + word.end() for word in re.finditer(r"\S+", text[match.start() : match.start() + 300])]
        names = []
        for end in reversed(ends[:MAX_NAME_WORDS]):
            name = text[match.end() : end].rstrip(_TRAILING)
            names.append((match.end() + len(name), folded(" ".join(name.split()))))
        found[match.start()] = [(end, name) for end, name in names if name]
    return found


def understand(text: str, categories: Mapping[str, UUID], now: datetime, zone: str) -> Understood:
    """The task that a text stands for.

    categories: the caller's own among those that `category_names` asks for, by their folded names. now: aware, UTC.
    Of several days or categories the last one counts; the others stay in the title. A text in which everything was
    understood and nothing is left for a title is a title.
    """
    unquoted = _without_addresses(_QUOTED.sub(lambda quoted: QUOTED * len(quoted[0]), text))
    spans = [*_categories(unquoted, categories)[-1:]]
    masked = _masked(unquoted, spans)
    priorities = [*_PRIORITY.finditer(masked)][-1:]
    spans += [Span(match.start(), match.end(), "priority", _priority(match[1])) for match in priorities]
    spans += _tags(masked)
    spans += due_spans(_masked(unquoted, spans), now, zone)
    spans.sort(key=lambda span: span.start)
    title = _title(text, spans)
    if not title.strip(".!?"):
        return Understood({"title": " ".join(text.split())}, ())
    fields: dict[str, Any] = {"title": title}
    for span in spans:
        if span.field == "tags":
            fields.setdefault("tags", []).append(span.value)
        else:
            fields[span.field] = span.value
    return Understood(fields, tuple(spans))


_SEPARATORS = ",;" + "".join(sign for sign in map(chr, range(0x3001)) if sign.isspace())
_CLOSING = re.compile(r"(?:[.!?)\]]+|:)(?:\s|$)")
_OPENED = re.compile(r"[\s,;:]*(?:[-\u2013\u2014](?=\s))?")
_CLOSED = re.compile(r"(?::|\s[-\u2013\u2014])$")


def _title(text: str, spans: Sequence[Span]) -> str:
    """What is left for a title: the text as it is, joined where something was understood."""
    starts, ends = [span.start for span in spans], [span.end for span in spans]
    rest = [text[start:end] for start, end in zip([0, *ends], [*starts, len(text)], strict=True)]
    return " ".join(reduce(_joined, rest).split())


def _joined(left: str, right: str) -> str:
    """Two texts that something stood between, with at most one of the commas that stood beside it."""
    first, second = left.rstrip(_SEPARATORS), right.lstrip(_SEPARATORS)
    if not first:
        return right[_OPENED.match(right).end() :]  # type: ignore[union-attr]  # it matches nothing too
    if not second:
        return _CLOSED.sub("", first)
    if _CLOSING.match(second):
        return first + second
    beside = left[len(first) :] + right[: len(right) - len(second)]
    sign = next((sign for sign in beside if sign in ",;"), "")
    return f"{first}{sign} {second}"


def _masked(text: str, spans: list[Span]) -> str:
    """The text with the same length, and nothing to read where something was understood."""
    for span in spans:
        text = text[: span.start] + MASK * (span.end - span.start) + text[span.end :]
    return text


_CHUNK, _PART = re.compile(r"\S+"), re.compile(r"[^\s,]+")


def _without_addresses(text: str) -> str:
    """The text with the same length, and nothing to read in addresses of pages and of mailboxes."""
    return _PART.sub(_without_mailbox, _CHUNK.sub(_without_page, text))


def _without_page(chunk: re.Match[str]) -> str:
    is_page = "://" in chunk[0] or chunk[0].lower().startswith(("www.", "mailto:"))
    return QUOTED * len(chunk[0]) if is_page else chunk[0]


def _without_mailbox(part: re.Match[str]) -> str:
    is_mailbox = "@" in part[0][1:] and not part[0].startswith("#")
    return QUOTED * len(part[0]) if is_mailbox else part[0]


def _categories(text: str, categories: Mapping[str, UUID]) -> list[Span]:
    found: list[Span] = []
    for start, names in category_names(text).items():
        named = next(((end, name) for end, name in names if name in categories), None)
        if named and (not found or found[-1].end <= start):
            found.append(Span(start, named[0], "category", categories[named[1]]))
    return found


def _priority(word: str) -> Priority:
    return Priority.MEDIUM if word.lower() == "med" else Priority(word)


def _tags(text: str) -> list[Span]:
    found: dict[str, Span] = {}
    for match in _TAG.finditer(text):
        tag = match[1].rstrip(_TRAILING)
        if _CLOCK.fullmatch(tag):
            continue
        if 0 < len(tag) <= MAX_TAG_LENGTH and len(found) < MAX_TAGS and folded(tag) not in found:
            found[folded(tag)] = Span(match.start(), match.start() + 1 + len(tag), "tags", tag)
    return [*found.values()]
