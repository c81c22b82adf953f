"""Shapes of categories."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from duely.api.bodies import Invalid
from duely.api.lists import Meta, Pagination
from duely.api.types import Instant, Parsed, text_of
from duely.core.clock import as_shown
from duely.tasks import models
from duely.tasks.fields import Version


class Color(Parsed[str]):
    """`#rrggbb`."""

    schema = {"type": "string", "pattern": "^#[0-9a-fA-F]{6}$", "examples": ["#1f6f5c"]}

    @classmethod
    def read(cls, raw: Any) -> str:
        """Check it."""
        if not isinstance(raw, str) or not re.fullmatch(r"#[0-9a-f]{6}", raw.lower(), re.ASCII):
            raise Invalid("invalid_format", "Use #rrggbb.")
        return raw.lower()


class CategoryName(Parsed[str]):
    """1 to 100 characters after trimming, no control characters."""

    schema = {"type": "string", "minLength": 1, "maxLength": 100}

    @classmethod
    def read(cls, raw: Any) -> str:
        """Check it."""
        return text_of(raw, longest=100, shortest=1)


class CategoryFields(msgspec.Struct, forbid_unknown_fields=True):
    """All writable fields of a category."""

    name: CategoryName
    color: Color | UnsetType = UNSET
    position: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | UnsetType = UNSET


class CategoryPut(CategoryFields, forbid_unknown_fields=True):
    """All writable fields of a category. Missing fields get their defaults. `version` works as for a task."""

    examples: ClassVar[Mapping[str, Any]] = {"category": {"name": "Home", "color": "#1f6f5c", "position": 1}}

    version: Version | UnsetType = UNSET


class NewCategory(CategoryFields, forbid_unknown_fields=True):
    """A new category. The client may choose `id`."""

    examples: ClassVar[Mapping[str, Any]] = {
        "name_alone": {"name": "Errands"},
        "with_a_color": {"name": "Garden", "color": "#1f6f5c"},
    }

    id: UUID | UnsetType = UNSET


class CategoryPatch(msgspec.Struct, forbid_unknown_fields=True):
    """Changes of a category. Missing fields stay unchanged. `version` works as for a task."""

    examples: ClassVar[Mapping[str, Any]] = {"color": {"color": "#1f6f5c"}, "first": {"position": 0}}

    name: CategoryName | UnsetType = UNSET
    color: Color | UnsetType = UNSET
    position: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | UnsetType = UNSET
    version: Version | UnsetType = UNSET


class CategoryPath(msgspec.Struct):
    """The id of the category."""

    category_id: UUID


class Category(msgspec.Struct, frozen=True):
    """A category. `task_count` does not count tasks in the trash."""

    id: UUID
    owner: UUID
    name: str
    color: str
    position: int
    task_count: int
    version: int
    created_at: Instant
    updated_at: Instant


class CategoryPage(msgspec.Struct, frozen=True):
    """A page of categories."""

    data: list[Category]
    pagination: Pagination
    meta: Meta


CATEGORY_COLUMNS = (
    "id",
    "owner_id",
    "name",
    "color",
    "position",
    "task_count",
    "version",
    "created_at",
    "updated_at",
)


def show_category(row: tuple[Any, ...]) -> Category:
    """A row of `CATEGORY_COLUMNS`, its instants as text, as clients see it."""
    id_, owner_id, name, color, position, task_count, version, created_at, updated_at = row
    return Category(
        id=id_,
        owner=owner_id,
        name=name,
        color=color,
        position=position,
        task_count=task_count,
        version=version,
        created_at=created_at,
        updated_at=updated_at,
    )


def category_of(category: models.Category) -> Category:
    """A stored category (with its `task_count`) as clients see it."""
    return show_category(as_shown(getattr(category, column) for column in CATEGORY_COLUMNS))
