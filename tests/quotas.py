"""Users near their quotas, for the tests of these."""

from typing import Any
from uuid import uuid4

from django.test import Client

from cast import Api
from duely.activity.models import Counter
from duely.api.models import KeptAnswer
from duely.core import clock
from duely.core.quotas import CATEGORIES, TASKS


def leave_room(user: Any, *, tasks: int = TASKS, categories: int = CATEGORIES) -> None:
    """As if the user had stored all but so many."""
    Counter.objects.update_or_create(
        owner_id=user.id,
        defaults={"tasks": TASKS - tasks, "categories": CATEGORIES - categories},
        create_defaults={"seq": 0, "tasks": TASKS - tasks, "categories": CATEGORIES - categories},
    )


def keep_answers(user: Any, number: int, *, size: int = 100) -> None:
    """Answers that are kept for this user, of other keys than the tests use."""
    KeptAnswer.objects.bulk_create(
        KeptAnswer(
            id=uuid4(),
            fingerprint="",
            status=200,
            headers={},
            body=b"",
            created_at=clock.now(),
            user_id=user.id,
            size=size,
        )
        for _ in range(number)
    )


def stored(user: Any) -> tuple[int, int]:
    counter = Counter.objects.get(owner_id=user.id)
    return counter.tasks, counter.categories


def assert_refused(answer: Any, quota: str, limit: int) -> None:
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (403, "quota_exceeded"), problem
    assert (problem["quota"], problem["limit"]) == (quota, limit)
    assert str(limit) in problem["detail"]


def operations(number: int) -> dict[str, Any]:
    return {"operations": [{"op": "create", "title": f"{index}"} for index in range(number)]}


def bring_in(api: Api, number: int, query: str = "") -> Any:
    return bring_in_table(api, "title\r\n" + "".join(f"row {index}\r\n" for index in range(number)), query)


def bring_in_table(api: Api, table: str, query: str = "") -> Any:
    return Client().post(f"/api/v1/import/{query}", table.encode(), content_type="text/csv", headers=api.headers)
