"""What files of other programs have in common: texts that need not fit our fields, and must not be lost."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

from duely.api.bodies import checked, is_plain
from duely.api.types import given
from duely.core.errors import ValidationFailed
from duely.tasks.rules import MAX_DESCRIPTION_BYTES, MAX_TAG_LENGTH, MAX_TAGS, MAX_TITLE, IncomingTask
from duely.transfer.rows import TaskRow
from duely.transfer.rules import Faulty, faulty

MAX_CATEGORY = 100


def source_of(kind: str, parts: Iterable[str], seen: Counter[int]) -> str:
    """What makes it the same row when the file comes again. Rows that are alike are told apart by their order.

    seen: how often each row has come.
    """
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    short = int.from_bytes(digest[:8])  # one number takes little room; two alike only make a later row the next one
    seen[short] += 1
    return f"{kind} {digest.hex()} {seen[short]}"


def plain(text: str) -> str:
    """One line without control characters."""
    return " ".join("".join(sign if is_plain(sign) else " " for sign in text).split())


def category_name(text: str) -> str:
    """A name that a category can have; "" when nothing is left."""
    return plain(text)[:MAX_CATEGORY].strip()


def tags(names: list[str]) -> list[str]:
    """Names that tags can have."""
    found = (plain(name.replace(",", " "))[:MAX_TAG_LENGTH].strip() for name in names)
    return [name for name in found if name][:MAX_TAGS]


def task(place: str, raw: dict[str, Any], parts: list[str], source: str, category: str | None) -> IncomingTask | Faulty:
    """A task of a title of any length, a description in parts, and other fields as the API takes them."""
    title = plain(str(raw["title"])) or "…"
    if len(title) > MAX_TITLE:
        parts = [title, *parts]
        title = title[: MAX_TITLE - 1] + "…"
    description = "\n\n".join(part for part in (part.replace("\x00", "").strip() for part in parts) if part)
    cut = description.encode("utf-8", "replace")[:MAX_DESCRIPTION_BYTES].decode("utf-8", "ignore")
    try:
        fields = given(checked({**raw, "title": title, "description": cut}, TaskRow))
    except ValidationFailed as refused:
        return faulty(place, refused)
    return IncomingTask(fields, source, category, place)
