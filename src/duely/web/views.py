"""The page at `/`."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

import duely


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What this is, with links to the documents."""
    return render(request, "duely/home.html", {"version": duely.__version__})
