"""The request as the middleware and the sign-in check leave it for endpoints."""

from django.http import HttpRequest

from duely.core.actor import Actor, Origin


class ApiRequest(HttpRequest):
    """`origin` is set by the guard for every request, `actor` by the sign-in check of the API."""

    origin: Origin
    actor: Actor
