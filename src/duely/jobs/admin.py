"""The queue in Django's admin: read-only, with an action that restarts dead jobs."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest

from duely.api.admin import ReadOnlyAdmin
from duely.jobs.models import Job, Schedule
from duely.jobs.queue import revive


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """Jobs of every state."""

    list_display = ("created_at", "name", "state", "run_at", "attempts", "error")
    list_filter = ("state", "name")
    ordering = ("-id",)
    actions = ("run_again",)

    @admin.action(description="Run dead jobs again", permissions=["view"])
    def run_again(self, request: HttpRequest, jobs: Any) -> None:
        """Queue the selected jobs that are dead."""
        count = revive(job_ids=list(jobs.values_list("pk", flat=True)))
        self.message_user(request, f"{count} queued again; others were not dead.", messages.SUCCESS)


@admin.register(Schedule)
class ScheduleAdmin(ReadOnlyAdmin):
    """Schedules and their next times."""

    list_display = ("name", "next_at")
    ordering = ("name",)
