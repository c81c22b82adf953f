"""Paths, methods, headers and the shape of every error."""

import pytest
import pytest_django
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from cast import V1, Api, alice, bearer, faults
from duely.api.operations import operation
from duely.api.resource import Resource
from duely.core.ids import new_id

pytestmark = pytest.mark.django_db

PROBLEM = "application/problem+json"
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def routes() -> list[tuple[str, set[str]]]:
    """Every path of the API, ids filled in, with its methods."""
    from duely.config.urls import ALIASES, ROUTES

    views = dict(ROUTES)
    every = [*ROUTES, *((alias, views[canonical]) for alias, canonical in ALIASES)]
    some_id = "0198c3a0-0000-7000-8000-000000000000"
    filled = []
    for route, view in every:
        parts = [some_id if part.startswith("<") else part for part in route.split("/")]
        filled.append(("/".join(parts), set(view.api_endpoints)))
    return filled


@pytest.mark.parametrize("form", ["/api/v1/tasks/", "/api/v1/tasks", "/api/tasks/", "/api/tasks"])
def test_both_slash_forms_and_both_bases_are_one_path(form: str) -> None:
    me = Api(alice())
    made = me.post(form, {"title": "Milk"})
    assert made.status_code == 201
    assert made.headers["Location"] == f"{V1}tasks/{made.json()['id']}/"
    assert me.get(f"{form}?limit=5").json()["data"] == [made.json()]
    one = f"{form.rstrip('/')}/{made.json()['id']}" + ("/" if form.endswith("/") else "")
    assert me.get(one).json() == made.json()
    assert me.put(one, {"title": "Bread"}).status_code == 200
    assert me.patch(one, {"title": "Rye"}).json()["title"] == "Rye"
    assert me.delete(one).status_code == 204


def test_every_route_works_in_every_form_without_a_redirect() -> None:
    client = Client()
    for route, methods in routes():
        for form in (V1 + route, (V1 + route).rstrip("/"), "/api/" + route, "/api/" + route.rstrip("/")):
            for method in methods:
                response = client.generic(method, form, "{}", "application/json")
                assert response.status_code in {400, 401}, (method, form)


@pytest.mark.parametrize("form", ["/api", "/api/", "/api/v1", "/api/v1/"])
def test_the_index_is_at_the_base(form: str) -> None:
    response = Client().get(form)
    assert response.status_code == 200
    assert response.json()["name"] == "Duely"


@pytest.mark.parametrize(
    "unknown",
    [
        "/api/v1/nowhere/",
        "/api/v1/nowhere",
        "/api/nowhere",
        "/api/v2/tasks/",
        "/api/v1/v1/tasks/",
        "/api/v1//tasks/",
        "/api/v1/tasks//",
        "/api/v1/TASKS/",
        "/api/v1/tasks/1/",
        "/api/v1/tasks/0198c3a000007000800000000000000a/",
        "/api/v1/tasks/0198c3a0-0000-7000-8000-00000000000g/",
        "/api/v1/tasks/0198c3a0-0000-7000-8000-000000000000/extra/",
        "/api/v1/tasks/0198c3a0-0000-7000-8000-000000000000%0a/",
        "/api/v1/tasks/%00/",
        "/api/v1/tasks/%ff/",
        "/api/v1/tasks/%ed%a0%80/",
        "/api/v1/tasks/../",
        "/api/v1/tasks/%2e%2e/",
        "/api/v1/%F0%9F%99%82/",
        "/api/v1/" + "x" * 5000,
        "/api/v1/tasks/" + "9" * 400 + "/",
        "/api/admin/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "FOO"])
def test_an_unknown_path_is_a_problem_document(method: str, unknown: str) -> None:
    response = Client().generic(method, unknown, headers=bearer(alice()))
    assert response.status_code == 404
    assert response.headers["Content-Type"] == PROBLEM
    assert response.json()["code"] == "not_found"


@pytest.mark.parametrize("prefix", ["/API/v1/tasks/", "/apis/v1/tasks/", "/apiv1/tasks/"])
def test_paths_beside_the_api_are_not_the_apis(prefix: str) -> None:
    response = Client().get(prefix)
    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/html")


def test_a_method_that_a_path_has_not_is_refused_with_those_it_has() -> None:
    client = Client()
    for route, methods in routes():
        allowed = {*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "FOO"} - allowed:
            response = client.generic(method, V1 + route)
            assert response.status_code == 405, (method, route)
            assert set(response.headers["Allow"].split(", ")) == allowed
            assert response.headers["Content-Type"] == PROBLEM
            if method != "HEAD":
                assert response.json()["code"] == "method_not_allowed"
                for name in allowed:
                    assert name in response.json()["detail"]


def test_options_tells_the_methods_of_every_path() -> None:
    for route, methods in routes():
        response = Client().options(V1 + route)
        assert (response.status_code, response.content) == (204, b"")
        allowed = {*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}
        assert set(response.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize("document", ["", "schema/", "docs/"])
def test_documents_are_only_read(document: str) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "FOO"):
        response = Client().generic(method, V1 + document)
        assert response.status_code == 405
        assert response.headers["Allow"] == "GET, HEAD"
        assert response.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    "target", ["tasks/", "categories/", "activity-logs/", "profile/", "users/me/", "schema/", "", "tasks/?x=1"]
)
def test_head_answers_as_get_without_the_body(target: str) -> None:
    me = Api(alice())
    me.post("tasks/", {"title": "Milk"})
    same = {"X-Request-ID": "same"}
    head, get = me.call("HEAD", target, **same), me.get(target, **same)
    assert head.status_code == get.status_code
    assert head.content == b""
    assert get.content != b""
    assert head.headers["Content-Length"] == str(len(get.content))
    assert dict(head.headers) == dict(get.headers)


@pytest.mark.parametrize("target, status", [("nowhere/", 404), ("tasks/", 401), ("auth/login/", 405)])
def test_head_has_no_body_in_errors_either(target: str, status: int) -> None:
    response = Client().head(V1 + target)
    assert (response.status_code, response.content) == (status, b"")
    assert int(response.headers["Content-Length"]) > 0


def test_head_on_one_task() -> None:
    me = Api(alice())
    task = me.post("tasks/", {"title": "Milk"}).json()
    response = me.call("HEAD", f"tasks/{task['id']}/")
    assert (response.status_code, response.headers["ETag"], response.content) == (200, '"1"', b"")


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", "", "image/png;q=0.1", "nonsense"])
def test_answers_are_json_for_every_accept_header(accept: str) -> None:
    me = Api(alice())
    assert me.get("tasks/", Accept=accept).headers["Content-Type"] == "application/json"
    assert me.get("nowhere/", Accept=accept).headers["Content-Type"] == PROBLEM


@pytest.mark.parametrize(
    "request_id", ["abc-123", "0198c3a0-0000-7000-8000-000000000000", "Root=1-5e1b:4/a+b.c_d", "x" * 128]
)
def test_a_sane_request_id_comes_back(request_id: str) -> None:
    response = Client().get(f"{V1}nowhere/", headers={"X-Request-ID": request_id})
    assert response.headers["X-Request-ID"] == request_id
    assert response.json()["instance"] == f"/api/v1/nowhere/#{request_id}"


@pytest.mark.parametrize("request_id", ["", " ", "a b", "x" * 129, "a\x7f", "é", "<b>", '"', "a,b", "a;b"])
def test_another_request_id_is_replaced(request_id: str) -> None:
    first, second = (Client().get(f"{V1}nowhere/", headers={"X-Request-ID": request_id}) for _ in range(2))
    ours = first.headers["X-Request-ID"]
    assert ours not in (request_id, second.headers["X-Request-ID"])
    assert first.json()["instance"].endswith(f"#{ours}")


def test_an_instance_is_the_path_as_it_was_asked_for() -> None:
    response = Client().get("/api/tasks?limit=5", headers={"X-Request-ID": "r"})
    assert response.json()["instance"] == "/api/tasks#r"


def every_kind_of_answer() -> dict[int, HttpResponse]:
    me = Api(alice())
    task = me.post("tasks/", {"title": "Milk"})
    one = f"tasks/{task.json()['id']}/"
    answers = [
        task,
        me.get(one),
        me.get("tasks/"),
        me.get("nowhere/"),
        me.post("tasks/", {}),
        Api().get("tasks/"),
        me.post("tasks/", {"title": "x", "owner": str(new_id())}),
        me.call("FOO", "tasks/"),
        me.post("tasks/", {"title": "x", "id": task.json()["id"]}),
        me.post("tasks/", b" " * (1024 * 1024 + 1)),
        Client().post(f"{V1}tasks/", "x", content_type="text/plain", headers=me.headers),
        me.delete(one),
    ]
    return {answer.status_code: answer for answer in answers}


def test_every_answer_has_the_common_headers() -> None:
    answers = every_kind_of_answer()
    assert set(answers) == {200, 201, 204, 400, 401, 403, 404, 405, 409, 413, 415}
    for status, answer in answers.items():
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value, (status, name)
        kept = answer.headers.get("Vary") == "Authorization"
        assert answer.headers["Cache-Control"] == ("private, no-cache" if kept else "no-store")
        assert answer.headers["X-Request-ID"]
        assert not answer.cookies
        if status != 204:
            assert answer.headers["Content-Length"] == str(len(answer.content))
            assert answer.headers["Content-Type"] == ("application/json" if status < 400 else PROBLEM)


def test_every_error_has_the_same_shape() -> None:
    for status, answer in every_kind_of_answer().items():
        if status < 400:
            continue
        document = answer.json()
        assert set(document) - {"errors"} == {"type", "title", "status", "detail", "instance", "code"}
        assert document["status"] == status
        assert document["type"] == f"https://duely.dev/problems/{document['code']}"
        assert document["instance"].endswith(f"#{answer.headers['X-Request-ID']}")
        for error in document.get("errors", []):
            assert set(error) == {"field", "code", "message"}


@pytest.mark.parametrize("page", ["/", "/healthz", "/nowhere", "/admin/login/"])
def test_pages_have_the_security_headers_too(page: str) -> None:
    response = Client().get(page)
    for name, value in SECURITY_HEADERS.items():
        assert response.headers[name] == value
    assert response.headers["X-Request-ID"]


@pytest.mark.parametrize("host", ["evil.example", "testserver.evil.example", "a b", "testserver\x00", "[::1", ""])
def test_a_host_that_is_not_ours_is_refused(host: str) -> None:
    response = Client().get(f"{V1}tasks/", HTTP_HOST=host)
    assert response.status_code == 400
    assert response.headers["Content-Type"] == PROBLEM
    assert response.json()["code"] == "malformed_request"
    assert "evil" not in response.content.decode()


def test_forwarded_host_headers_change_nothing() -> None:
    me = Api(alice())
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "Forwarded": "host=evil.example"}
    response = me.post("tasks/", {"title": "x"}, **forged)
    assert response.status_code == 201
    assert response.headers["Location"].startswith(V1)


class Crashing(Resource):
    """An endpoint with a fault."""

    @operation(None, name="crash", public=True)
    def get(self) -> HttpResponse:
        """Fail."""
        raise RuntimeError("the secret inside")


def crash(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("the secret inside")


def busy(request: HttpRequest) -> HttpResponse:
    raise OperationalError("could not obtain lock on tuple (1,2) of the secret inside")


def gone(request: HttpRequest) -> HttpResponse:
    raise InterfaceError("connection to the secret inside is closed")


@pytest.fixture
def crashing(settings: pytest_django.Settings) -> None:
    """Paths that fail in every way."""
    settings.ROOT_URLCONF = (
        path("api/v1/crash/", crash),
        path("api/v1/resource/", Crashing.as_view()),
        path("api/v1/busy/", busy),
        path("api/v1/gone/", gone),
    )


@pytest.mark.parametrize("where", ["crash/", "crash", "resource/"])
def test_a_crash_is_a_problem_that_says_nothing_of_the_inside(crashing: None, where: str) -> None:
    response = Client().get(V1 + where, headers={"X-Request-ID": "r-500"})
    assert response.status_code == 500
    assert response.headers["Content-Type"] == PROBLEM
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Request-ID"] == "r-500"
    assert response.json() == {
        "type": "https://duely.dev/problems/internal_error",
        "title": "The server has made an error.",
        "status": 500,
        "detail": response.json()["detail"],
        "instance": f"{V1}{where}#r-500",
        "code": "internal_error",
    }
    for inside in ("secret", "RuntimeError", "Traceback", ".py"):
        assert inside not in response.content.decode()


def test_a_crash_is_logged_under_its_request_id(crashing: None, caplog: pytest.LogCaptureFixture) -> None:
    Client().get(f"{V1}crash/", headers={"X-Request-ID": "r-500"})
    (record,) = [record for record in caplog.records if record.name == "duely.api"]
    assert record.levelname == "ERROR"
    assert "the secret inside" in str(record.msg)
    assert "r-500" in str(record.msg)


@pytest.mark.parametrize("where", ["busy/", "gone/"])
def test_a_database_that_cannot_answer_is_unavailable_for_now(crashing: None, where: str) -> None:
    response = Client().get(V1 + where)
    assert response.status_code == 503
    assert response.headers["Content-Type"] == PROBLEM
    assert response.headers["Retry-After"] == "1"
    assert response.json()["code"] == "unavailable"
    assert "secret" not in response.content.decode()


def test_operations_without_a_list_take_no_query_parameters() -> None:
    me = Api(alice())
    for method, target in [
        ("POST", "tasks/"),
        ("POST", "categories/"),
        ("GET", "profile/"),
        ("GET", "users/me/"),
        ("POST", "auth/login/"),
    ]:
        response = me.call(method, f"{target}?dry_run=1", {})
        assert response.status_code == 400
        assert faults(response)["dry_run"] == "unknown_parameter"
