"""Notices in Django's admin, read-only."""

from django.contrib import admin

from duely.api.admin import ReadOnlyAdmin
from duely.notifications.models import Notice


@admin.register(Notice)
class NoticeAdmin(ReadOnlyAdmin):
    """Notices with their outcomes."""

    list_display = ("due_at", "kind", "recipient_id", "attempts", "attempted_at", "outcome", "ended_at")
    list_filter = ("kind", "outcome")
    ordering = ("-id",)
