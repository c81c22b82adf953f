"""The change log in the admin: to read, never to write."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest

from duely.activity.models import Change

if TYPE_CHECKING:
    AnyAdmin = admin.ModelAdmin[Any]
else:
    AnyAdmin = admin.ModelAdmin


class ReadOnlyAdmin(AnyAdmin):
    """Pages without a way to write."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False


@admin.register(Change)
class ChangeAdmin(ReadOnlyAdmin):
    """Who changed what, when and from where."""

    list_display = ("at", "action", "target_type", "target_label", "actor_name", "ip")
    list_filter = ("action", "target_type")
    search_fields = ("target_label", "actor_name", "request_id")
    ordering = ("-at", "-id")
