"""Quotas hold, whichever way a task comes and however many come at once."""

import pytest
from django.db import connection

from cast import Api, alice, bob, log_of
from duely.core.ids import new_id
from duely.core.quotas import TASKS
from duely.tasks.models import Task
from quotas import assert_refused, bring_in, leave_room, operations, stored
from races import together

CREATE = {
    "one": lambda api: api.post("tasks/", {"title": "x"}),
    "one of one's own id": lambda api: api.post("tasks/", {"title": "x", "id": str(new_id())}),
    "quick": lambda api: api.post("tasks/quick/", {"text": "x"}),
    "bulk": lambda api: api.post("tasks/bulk/", operations(1)),
    "keyed": lambda api: api.post("tasks/", {"title": "x"}, Idempotency_Key=str(new_id())),
    "import": lambda api: bring_in(api, 1),
}


@pytest.mark.parametrize("way", CREATE)
def test_a_task_too_many_is_refused_in_every_way(committed_db: None, way: str) -> None:
    me, other = Api(alice()), Api(bob())
    leave_room(me.user, tasks=1)

    answers = [CREATE[way](me), CREATE[way](other)]

    assert [answer.status_code for answer in answers] in ([200, 200], [201, 201])
    if way == "import":
        answers.append(bring_in(me, 2))
    else:
        answers.append(CREATE[way](me))
    assert_refused(answers[-1], "tasks", TASKS)
    assert Task.objects.filter(owner=me.user).count() == 1
    assert [action for action, _ in log_of(me.user)] == ["task.created"]


def test_exactly_as_many_as_fit_are_stored_however_many_come_at_once(committed_db: None) -> None:
    me = Api(alice())
    leave_room(me.user, tasks=3)

    def create() -> int:
        try:
            return int(Api(me.user).post("tasks/", {"title": "x"}).status_code)
        finally:
            connection.close()

    statuses = together(*[create] * 8)

    assert sorted(statuses) == [201] * 3 + [403] * 5
    assert Task.objects.count() == 3
    assert stored(me.user)[0] == TASKS
