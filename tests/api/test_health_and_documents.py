"""The index, the OpenAPI document and the page to try it."""

import gzip
import re
from threading import Thread

import pytest
import yaml
from django.contrib.staticfiles import finders
from django.test import Client

import duely
from duely.api.documents import Document, takes_gzip

pytestmark = pytest.mark.django_db


def exists(client: Client, path: str) -> bool:
    """Whether something answers there: a file of our own, or a view."""
    if path.startswith("/static/"):
        return finders.find(path.removeprefix("/static/")) is not None
    return client.get(path).status_code in {200, 302, 401}


def test_the_index_names_the_service_and_links_to_its_parts() -> None:
    client = Client()
    index = client.get("/api/v1/").json()
    assert (index["name"], index["version"], index["status"]) == ("Duely", duely.__version__, "ok")
    for name, link in index["links"].items():
        expected = 200 if name in {"docs", "schema"} else 401
        assert client.get(link).status_code == expected, link


@pytest.mark.slow
def test_the_document_is_the_same_as_json_and_as_yaml() -> None:
    client, base = Client(), "/api/v1/schema/"
    as_json = client.get(base)
    assert as_json.headers["Content-Type"] == "application/json"
    assert as_json.json()["openapi"].startswith("3.1")
    by_parameter, by_header = (
        client.get(f"{base}?format=yaml"),
        client.get(base, headers={"Accept": "application/yaml"}),
    )
    assert by_parameter.headers["Content-Type"] == by_header.headers["Content-Type"] == "application/yaml"
    assert by_parameter.content == by_header.content
    assert yaml.safe_load(by_parameter.content) == as_json.json()
    for form in ("/api/v1/schema", "/api/schema/", "/api/schema"):
        assert client.get(form).content == as_json.content


@pytest.mark.parametrize("path", ["/api/v1/schema/", "/api/v1/schema/?format=yaml", "/api/v1/docs/"])
def test_a_document_is_compressed_and_not_sent_again(path: str) -> None:
    client = Client()
    plain, packed = client.get(path), client.get(path, headers={"Accept-Encoding": "br, gzip"})

    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.content) == plain.content
    assert len(packed.content) < len(plain.content) / 4
    assert packed.headers["ETag"] == plain.headers["ETag"]
    assert packed.headers["Vary"] == "Accept, Accept-Encoding"
    for tag in (plain.headers["ETag"], plain.headers["ETag"].removeprefix("W/")):
        again = client.get(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", plain.headers["ETag"])
    assert client.get(path, headers={"If-None-Match": '"another"'}).status_code == 200


@pytest.mark.parametrize(
    "header, taken",
    [
        ("", False),
        ("br", False),
        ("gzip", True),
        ("br;q=1.0, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
    ],
)
def test_gzip_is_sent_to_clients_that_accept_it(header: str, taken: bool) -> None:
    assert takes_gzip(header) is taken


@pytest.mark.slow
def test_a_document_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from duely.api import openapi
    from duely.config import urls

    made = []
    build = openapi.build
    monkeypatch.setattr(openapi, "build", lambda *arguments: made.append(1) or build(*arguments))
    document = Document(urls.router, urls.ALIASES)
    threads = [Thread(target=document._page, args=(name,)) for name in ("as_json", "as_page", "as_yaml") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_the_document_holds_every_route_and_method_and_nothing_else() -> None:
    from duely.config.urls import PREFIX, ROUTES

    paths = Client().get("/api/v1/schema/").json()["paths"]
    expected = {
        "/" + PREFIX + re.sub(r"<\w+:(\w+)>", r"{\1}", route): {method.lower() for method in view.api_endpoints}
        for route, view in ROUTES
    }
    methods = {"get", "post", "put", "patch", "delete"}
    assert {path: set(item) & methods for path, item in paths.items()} == expected


@pytest.mark.parametrize("path", ["/api/v1/docs/", "/api/docs/", "/api/docs", "/api/v1/docs"])
def test_the_page_to_try_it_works_without_another_server(path: str) -> None:
    client = Client()
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/html")
    page = response.content.decode()
    links = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page)
    assert links
    for link in links:
        assert re.match("/(?!/)", link), link
        assert exists(client, link), link
    assert "listTasks" in page


def test_the_home_page_links_to_the_documents_and_loads_nothing_from_elsewhere() -> None:
    client = Client()
    response = client.get("/")
    assert response.status_code == 200
    page = response.content.decode()
    assert "/api/docs/" in page or "/api/v1/docs/" in page
    for link in re.findall(r"""(?:src|href)=["']([^"']+)["']""", page):
        assert exists(client, link), link
    assert not re.search(r"""(?:src=|<link[^>]+href=)["'](?:https?:)?//""", page)
