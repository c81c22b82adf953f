"""The page at `/`, and the page that links in mails open."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

import duely
from duely.accounts.codes import TOKEN_PATTERN


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The start page, with links to the documentation."""
    return render(request, "duely/home.html", {"version": duely.__version__})


@require_safe
def verify_email(request: HttpRequest) -> HttpResponse:
    """The page that asks the user to confirm an address. Its script calls the API."""
    return render(request, "duely/verify_email.html", {"token_pattern": TOKEN_PATTERN})
