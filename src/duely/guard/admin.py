"""Bans in Django's admin. Creating and lifting them uses the same actions as the API."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import AdminErrorList, AdminForm
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from duely.api.admin import ReadOnlyAdmin
from duely.core import clock
from duely.core.actor import Actor
from duely.core.errors import Refused
from duely.guard import actions, rules
from duely.guard.models import Ban


class BanForm(forms.Form):
    """A new ban."""

    network = forms.CharField(max_length=49, help_text="An address, or a network such as 203.0.113.0/24.")
    reason = forms.CharField(max_length=rules.MAX_REASON, required=False)
    until = forms.DateTimeField(required=False, help_text="UTC, such as 2030-01-31 09:00. Empty: for good.")

    def clean_network(self) -> rules.Network:
        """The text of the field as a network."""
        try:
            return rules.parse_network(self.cleaned_data["network"])
        except rules.BadNetwork as fault:
            raise forms.ValidationError(str(fault)) from None

    def clean_reason(self) -> str:
        """The reason, if it has no control characters."""
        reason: str = self.cleaned_data["reason"]
        if not reason.isprintable():
            raise forms.ValidationError("Remove the control characters.")
        return reason

    def refuse(self, refused: Refused) -> None:
        """Show the errors of a refusal, each at its field."""
        for error in refused.errors:
            self.add_error(error.field, error.message)
        if not refused.errors:
            self.add_error(None, refused.detail)


def _actor(request: HttpRequest) -> Actor:
    """The admin who uses the pages. `accounts` is a higher module, so its User cannot be imported here."""
    user: Any = request.user
    origin = request.origin  # type: ignore[attr-defined]  # set by the guard
    return Actor(user.id, user.username, user.role, None, user.time_zone, origin)


@admin.register(Ban)
class BanAdmin(ReadOnlyAdmin):
    """All bans, with their authors and reasons."""

    list_display = (
        "network",
        "stands_now",
        "reason",
        "until",
        "automatic",
        "created_by_name",
        "created_at",
        "lifted_at",
    )
    list_filter = ("automatic",)
    search_fields = ("network", "reason")
    ordering = ("-created_at", "-id")
    actions = ("lift",)

    @admin.display(boolean=True, description="stands")
    def stands_now(self, ban: Ban) -> bool:
        """Whether the ban is in force: a column of the list."""
        return ban.is_active(clock.now())

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Staff only."""
        return bool(getattr(request.user, "is_staff", False))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Create a ban."""
        form = BanForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                ban = actions.ban_address(actor=_actor(request), **form.cleaned_data, now=clock.now())
            except Refused as refused:
                form.refuse(refused)
            else:
                self.message_user(request, f"{ban.network} is banned.", messages.SUCCESS)
                return HttpResponseRedirect(reverse("admin:guard_ban_changelist"))
        fields: Any = form  # typed as a model form, but the helpers use nothing that a plain form lacks
        context = {
            **self.admin_site.each_context(request),
            "title": "Add ban",
            "adminform": AdminForm(fields, [(None, {"fields": list(form.fields)})], {}, (), model_admin=self),
            "errors": AdminErrorList(fields, []),
            "media": self.media + form.media,
            "inline_admin_formsets": [],
            "show_save_and_continue": False,
            "show_save_and_add_another": False,
        }
        return self.render_change_form(request, context, add=True, form_url=form_url)

    @admin.action(description="Lift")
    def lift(self, request: HttpRequest, bans: QuerySet[Ban]) -> None:
        """Lift the selected bans."""
        actor, now = _actor(request), clock.now()
        for ban in bans:
            actions.lift_ban(actor=actor, ban_id=ban.pk, now=now)
            self.message_user(request, f"{ban}: lifted.", messages.SUCCESS)
