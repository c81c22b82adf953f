"""Rows of files, checked as the API checks what it is sent."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from duely.api.bodies import far_year
from duely.api.types import Parsed, instant_of
from duely.tasks.categories.schemas import CategoryName, Color
from duely.tasks.fields import Description, DueDate, Reminders, Tags, Title
from duely.tasks.rules import EARLIEST, LATEST, Priority, Status

Changes = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
"""A version after which as many more can come: the column holds twice as much."""


class At(Parsed[Any]):
    """An instant."""

    schema = {"type": "string", "format": "date-time"}

    @classmethod
    def read(cls, raw: Any) -> Any:
        """Check it."""
        at = instant_of(raw, example="2026-01-31T09:00:00Z")
        if not EARLIEST <= at.year <= LATEST:
            raise far_year(EARLIEST, LATEST)
        return at


class CategoryRow(msgspec.Struct, forbid_unknown_fields=True):
    """A category as a file has it."""

    name: CategoryName
    id: UUID | UnsetType = UNSET
    color: Color | UnsetType = UNSET
    position: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | UnsetType = UNSET
    version: Changes | UnsetType = UNSET
    created_at: At | UnsetType = UNSET
    updated_at: At | UnsetType = UNSET


class TaskRow(msgspec.Struct, forbid_unknown_fields=True):
    """A task as a file has it: everything but its owner, who is whoever imports it."""

    title: Title
    id: UUID | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    former_status: Status | UnsetType | None = UNSET
    completed_at: At | UnsetType | None = UNSET
    priority: Priority | UnsetType = UNSET
    due_date: DueDate | UnsetType | None = UNSET
    category: UUID | UnsetType | None = UNSET
    tags: Tags | UnsetType = UNSET
    reminders: Reminders | UnsetType = UNSET
    version: Changes | UnsetType = UNSET
    created_at: At | UnsetType = UNSET
    updated_at: At | UnsetType = UNSET
    deleted_at: At | UnsetType | None = UNSET
