"""The page of the link to unsubscribe (RFC 8058)."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from duely.accounts.actions import update_profile
from duely.core.actor import Actor
from duely.core.clock import now
from duely.notifications import links, queries
from duely.notifications.rules import Kind

PAGE = "notifications/unsubscribe.html"
UNSUBSCRIBED: Mapping[Kind, Mapping[str, Any]] = {
    Kind.REMINDER: {"reminder_emails": False},
    Kind.DIGEST: {"digest_hour": None},
}


@csrf_exempt  # the link itself is the proof, and mail programs send no cookies
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """GET asks for confirmation, POST unsubscribes. 404 for an unknown link.

    GET changes nothing, because mail scanners open every link in a mail.
    """
    link = links.read(token)
    if link is None:
        return render(request, PAGE, status=404)
    kind, user_id = link
    user = queries.recipient(user_id)
    if user is None:
        return render(request, PAGE, status=404)
    if request.method == "POST":
        origin = request.origin  # type: ignore[attr-defined]  # set by the guard
        actor = Actor(user.id, user.username, user.role, None, user.time_zone, origin)
        update_profile(actor=actor, values=UNSUBSCRIBED[kind], now=now())
    page = {"kind": kind.value, "done": request.method == "POST", "email": user.email}
    return render(request, PAGE, page)
