"""The change log in Django's admin, read-only."""

from django.contrib import admin

from duely.activity.models import Change
from duely.api.admin import ReadOnlyAdmin


@admin.register(Change)
class ChangeAdmin(ReadOnlyAdmin):
    """The entries of the change log."""

    list_display = ("at", "action", "target_type", "target_label", "actor_name", "ip")
    list_filter = ("action", "target_type")
    search_fields = ("target_label", "actor_name", "request_id")
    ordering = ("-at", "-id")
