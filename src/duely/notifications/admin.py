"""Notices in the admin: to look at."""

from django.contrib import admin

from duely.api.admin import ReadOnlyAdmin
from duely.notifications.models import Notice


@admin.register(Notice)
class NoticeAdmin(ReadOnlyAdmin):
    """Who was told what, and how it went."""

    list_display = ("due_at", "kind", "recipient_id", "attempts", "attempted_at", "outcome", "ended_at")
    list_filter = ("kind", "outcome")
    ordering = ("-id",)
