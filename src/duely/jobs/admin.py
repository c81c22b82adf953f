"""The queue in the admin: to look at, and to let dead jobs try anew."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest

from duely.api.admin import ReadOnlyAdmin
from duely.jobs.models import Job, Schedule
from duely.jobs.queue import revive


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """What waits, runs, is done, and what failed for the last time."""

    list_display = ("created_at", "name", "state", "run_at", "attempts", "error")
    list_filter = ("state", "name")
    ordering = ("-id",)
    actions = ("run_again",)

    @admin.action(description="Run dead jobs again", permissions=["view"])
    def run_again(self, request: HttpRequest, chosen: Any) -> None:
        """Queue the chosen ones that are dead."""
        many = revive(job_ids=list(chosen.values_list("pk", flat=True)))
        self.message_user(request, f"{many} queued again; others were not dead.", messages.SUCCESS)


@admin.register(Schedule)
class ScheduleAdmin(ReadOnlyAdmin):
    """When the clock's jobs are due next."""

    list_display = ("name", "next_at")
    ordering = ("name",)
