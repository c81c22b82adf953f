"""The change log in the admin: to read, never to write."""

from django.contrib import admin

from duely.activity.models import Change
from duely.api.admin import ReadOnlyAdmin


@admin.register(Change)
class ChangeAdmin(ReadOnlyAdmin):
    """Who changed what, when and from where."""

    list_display = ("at", "action", "target_type", "target_label", "actor_name", "ip")
    list_filter = ("action", "target_type")
    search_fields = ("target_label", "actor_name", "request_id")
    ordering = ("-at", "-id")
