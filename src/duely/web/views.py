"""The page at `/`, and the one that links in mails open."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

import duely


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What this is, with links to the documents."""
    return render(request, "duely/home.html", {"version": duely.__version__})


@require_safe
def verify_email(request: HttpRequest) -> HttpResponse:
    """Asks whether an address is one's own. What it does then is a call of the API."""
    return render(request, "duely/verify_email.html")
