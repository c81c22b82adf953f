"""Shapes of `tasks/bulk/`: many operations in one request."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar
from uuid import UUID

import msgspec

from duely.api.bodies import Invalid, checked
from duely.api.types import Parsed, one_of
from duely.core.errors import FieldError, ValidationFailed
from duely.tasks import rules
from duely.tasks.fields import short_list
from duely.tasks.schemas import TaskIn, TaskPatch


class CreateOperation(TaskIn, forbid_unknown_fields=True, tag_field="op", tag="create"):
    """Create a task."""


class UpdateOperation(TaskPatch, forbid_unknown_fields=True, tag_field="op", tag="update", kw_only=True):
    """Change some fields of a task."""

    id: UUID


class DeleteOperation(msgspec.Struct, forbid_unknown_fields=True, tag_field="op", tag="delete"):
    """Move a task to the trash."""

    id: UUID


Operation = CreateOperation | UpdateOperation | DeleteOperation
OPERATIONS: Mapping[str, type[Operation]] = {
    "create": CreateOperation,
    "update": UpdateOperation,
    "delete": DeleteOperation,
}


class Operations(Parsed[list[Operation | ValidationFailed]]):
    """1 to 100 operations. An invalid one is refused without affecting the others."""

    schema = {
        "type": "array",
        "minItems": 1,
        "maxItems": rules.MAX_OPERATIONS,
        "items": one_of("op", OPERATIONS),
    }

    @classmethod
    def read(cls, raw: Any) -> list[Operation | ValidationFailed]:
        """Check each."""
        operations = short_list(raw, rules.MAX_OPERATIONS, "operations")
        if not operations:
            raise Invalid("required", "Send at least one operation.")
        return [cls._one(item) for item in operations]

    @staticmethod
    def _one(item: Any) -> Operation | ValidationFailed:
        if not isinstance(item, dict):
            return ValidationFailed(FieldError("", "invalid_type", "Use an object."))
        verb = item["op"].lower() if isinstance(item.get("op"), str) else ""
        kind = OPERATIONS.get(verb)
        if kind is None:
            fault = "invalid_choice" if "op" in item else "required"
            return ValidationFailed(FieldError("op", fault, f"Use one of: {', '.join(OPERATIONS)}."))
        try:
            return checked({**item, "op": verb}, kind)
        except ValidationFailed as refused:
            return refused


class Bulk(msgspec.Struct, forbid_unknown_fields=True):
    """Operations on tasks. With `atomic` all are executed or none."""

    examples: ClassVar[Mapping[str, Any]] = {
        "two_tasks": {
            "operations": [
                {"op": "create", "title": "Buy milk", "tags": ["shop"]},
                {"op": "create", "title": "Pay the rent", "due_date": "2098-01-31"},
            ]
        },
        "all_or_none": {"operations": [{"op": "create", "title": "Buy bread"}], "atomic": True},
    }

    max_keys: ClassVar[int] = 2000
    operations: Operations
    atomic: bool = False  # allow: edge_transaction because it is the name of a field


ANY_BODY = {
    "anyOf": [{"$ref": "#/components/schemas/Task"}, {"$ref": "#/components/schemas/Problem"}, {"type": "null"}]
}


class BulkResult(msgspec.Struct, frozen=True):
    """The result of one operation: the status and body that a single request would have been answered with.

    The body is the task, null after a deletion, or a problem document.
    """

    status: int
    body: Annotated[Any, msgspec.Meta(extra_json_schema=ANY_BODY)]


class BulkResults(msgspec.Struct, frozen=True):
    """The results of the operations, in the same order."""

    results: list[BulkResult]
