"""What browsers are told with every answer: what a page may load, who may read it, and that it comes by TLS alone."""

from functools import lru_cache

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from duely.core.settings import setting
from duely.guard.rules import is_api, is_document

SAME = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# Answers of the API are data: whoever opens one as a page gets nothing to run.
DATA = "default-src 'none'; frame-ancestors 'none'"
PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Swagger UI and Django's admin write styles, not scripts, into their elements.
STYLED = PAGE.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
ONE_YEAR = "max-age=31536000"

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
ACCEPTED = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-ID"
EXPOSED = (
    "Accept-Encoding, Content-Disposition, ETag, Idempotent-Replayed, Location, RateLimit, RateLimit-Policy,"
    " Retry-After, WWW-Authenticate, X-Request-ID"
)
PREFLIGHT_SECONDS = "600"


Header = tuple[str, str]


def store_of(response: HttpResponseBase) -> dict[str, Header]:
    """The headers of an answer by their names in lower case, as Django keeps them: without a look at each value."""
    return response.headers._store


def missing(request: HttpRequest, response: HttpResponseBase) -> list[Header]:
    """Those that an answer does not have yet; what a view has set itself stays."""
    path = request.path_info
    if setting("CORS_ALLOWED_ORIGINS") and is_api(path):
        _share(request, response)
    present = store_of(response)
    return [header for name, header in _of(_policy(path), setting("PUBLIC_URL")) if name not in present]


def _policy(path: str) -> str:
    if not is_api(path):
        return STYLED if path.startswith("/admin/") else PAGE
    return STYLED if is_document(path) else DATA


@lru_cache(maxsize=8)
def _of(policy: str, public_url: str) -> tuple[tuple[str, Header], ...]:
    """Each with its name in lower case."""
    headers = {**SAME, "Content-Security-Policy": policy}
    if public_url.startswith("https://"):
        headers["Strict-Transport-Security"] = ONE_YEAR
    return tuple((name.lower(), (name, value)) for name, value in headers.items())


def preflight(request: HttpRequest) -> HttpResponse | None:
    """The answer to a browser that asks whether a page of another origin may send a request (Fetch, section 3.3.5).

    None for anything else. Costs neither a limit nor a query, and the request that follows is checked as any other.
    """
    asks = request.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in request.META
    if not asks or not _is_allowed(request):
        return None
    return HttpResponse(
        status=204,
        headers={
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": ACCEPTED,
            "Access-Control-Max-Age": PREFLIGHT_SECONDS,
        },
    )


def _share(request: HttpRequest, response: HttpResponseBase) -> None:
    """Let pages of the allowed origins read the answer. No cookies: the API does not look at any."""
    vary = response.headers.get("Vary")
    response.headers["Vary"] = f"{vary}, Origin" if vary else "Origin"
    if _is_allowed(request):
        response.headers["Access-Control-Allow-Origin"] = request.META["HTTP_ORIGIN"]
        response.headers["Access-Control-Expose-Headers"] = EXPOSED


def _is_allowed(request: HttpRequest) -> bool:
    return request.META.get("HTTP_ORIGIN") in setting("CORS_ALLOWED_ORIGINS")
