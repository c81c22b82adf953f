"""Connections to PostgreSQL that the server has closed."""

import psycopg
import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from cast import Api, alice
from races import together

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="of PostgreSQL's backend")
AT_ONCE = 5


def kill_all() -> None:
    """Close every connection to this database, from outside."""
    with psycopg.connect(**_address(), autocommit=True) as outside:
        outside.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def _address() -> dict[str, str]:
    params = connection.get_connection_params()
    return {name: params[name] for name in ("host", "dbname", "user")}


@pytest.fixture
def me(committed_db: None) -> Api:
    return Api(alice())


def test_requests_get_through_when_every_connection_of_the_pool_was_closed(me: Api) -> None:
    def ask() -> int:
        return me.get("tasks/").status_code

    for _ in range(3):
        assert together(*[ask] * AT_ONCE) == [200] * AT_ONCE
        kill_all()
    assert together(*[ask] * AT_ONCE) == [200] * AT_ONCE


@pytest.mark.parametrize("method, status", [("get", 200), ("post", 201)])
def test_a_connection_that_is_closed_while_it_is_in_use_is_replaced_at_the_first_statement(
    me: Api, method: str, status: int
) -> None:
    body = [{"title": "x"}] if method == "post" else []
    assert getattr(me, method)("tasks/", *body).status_code == status
    connection.ensure_connection()
    kill_all()
    assert getattr(me, method)("tasks/", *body).status_code == status


def test_a_connection_that_works_is_not_asked(me: Api) -> None:
    me.get("tasks/")
    connection.close()
    with CaptureQueriesContext(connection) as queries:
        assert me.get("tasks/").status_code == 200
    assert len(queries) == 2


def test_within_a_transaction_nothing_is_tried_again(me: Api) -> None:
    """What it did before is gone."""
    from django.db import transaction

    from duely.accounts import queries
    from duely.core.clock import now

    with pytest.raises(OperationalError), transaction.atomic():
        connection.ensure_connection()
        kill_all()
        queries.caller(me.user.id, me.user.id, now())
    connection.close()
