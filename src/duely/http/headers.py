"""Headers for browsers: security headers of every answer, and CORS for the allowed origins (decision 0041)."""

from functools import lru_cache

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from duely.core.settings import setting
from duely.guard.rules import is_api, is_document

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# Answers of the API are data. A browser that opens one as a page must not run anything.
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Swagger UI and Django's admin write styles, not scripts, into their elements.
PAGE_POLICY_WITH_STYLES = PAGE_POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
ONE_YEAR = "max-age=31536000"

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
ACCEPTED_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-ID"
EXPOSED_HEADERS = (
    "Accept-Encoding, Content-Disposition, ETag, Idempotent-Replayed, Location, RateLimit, RateLimit-Policy,"
    " Retry-After, WWW-Authenticate, X-Request-ID"
)
PREFLIGHT_SECONDS = "600"

Header = tuple[str, str]


def headers_of(response: HttpResponseBase) -> dict[str, Header]:
    """The headers of an answer by their names in lower case: Django's own dictionary.

    Django's interface would check and encode each value that is set (decision 0024).
    """
    return response.headers._store


def missing(request: HttpRequest, response: HttpResponseBase) -> list[Header]:
    """The security headers that an answer does not have yet. Headers that a view has set stay."""
    path = request.path_info
    if setting("CORS_ALLOWED_ORIGINS") and is_api(path):
        _allow_reading(request, response)
    present = headers_of(response)
    return [header for name, header in _security_headers(_policy(path), setting("PUBLIC_URL")) if name not in present]


def _policy(path: str) -> str:
    if path.startswith("/admin/") or is_document(path):
        return PAGE_POLICY_WITH_STYLES
    return DATA_POLICY if is_api(path) else PAGE_POLICY


@lru_cache(maxsize=8)
def _security_headers(policy: str, public_url: str) -> tuple[tuple[str, Header], ...]:
    """Pairs of a name in lower case and a header. Cached, because all answers have the same few sets."""
    headers = {**SECURITY_HEADERS, "Content-Security-Policy": policy}
    if public_url.startswith("https://"):
        headers["Strict-Transport-Security"] = ONE_YEAR
    return tuple((name.lower(), (name, value)) for name, value in headers.items())


def preflight(request: HttpRequest) -> HttpResponse | None:
    """The answer to a CORS preflight request of an allowed origin (Fetch, section 3.3.5). None for other requests.

    It counts towards no limit and costs no query. The request that follows is checked like any other.
    """
    is_preflight = request.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in request.META
    if not is_preflight or not _is_allowed(request):
        return None
    return HttpResponse(
        status=204,
        headers={
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": ACCEPTED_HEADERS,
            "Access-Control-Max-Age": PREFLIGHT_SECONDS,
        },
    )


def _allow_reading(request: HttpRequest, response: HttpResponseBase) -> None:
    """Let pages of the allowed origins read the answer, without cookies: the API does not use them."""
    vary = response.headers.get("Vary")
    response.headers["Vary"] = f"{vary}, Origin" if vary else "Origin"
    if _is_allowed(request):
        response.headers["Access-Control-Allow-Origin"] = request.META["HTTP_ORIGIN"]
        response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS


def _is_allowed(request: HttpRequest) -> bool:
    return request.META.get("HTTP_ORIGIN") in setting("CORS_ALLOWED_ORIGINS")
