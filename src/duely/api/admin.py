"""The base class of read-only admin pages."""

from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.http import HttpRequest

if TYPE_CHECKING:
    AnyAdmin = admin.ModelAdmin[Any]
else:
    AnyAdmin = admin.ModelAdmin


class ReadOnlyAdmin(AnyAdmin):
    """Admin pages that do not write."""

    show_full_result_count = False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Whether a list may be filtered by this query parameter: only by the filters beside it.

        Django allows every lookup into every column, such as `password__startswith`, which reads a hash letter by
        letter, and `__regex`, which runs for minutes.
        """
        names: list[str] = [*cast("Any", self.list_filter)]
        return lookup in {f"{name}{ending}" for name in names for ending in ("", "__exact", "__isnull")}

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False
