"""Django's own interface to background tasks, on our queue."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from duely.core.ids import new_id
from duely.jobs.models import Job
from duely.jobs.queries import database_now
from duely.jobs.queue import claim
from duely.jobs.runner import execute
from jobs.helpers import due

tasks = pytest.importorskip("django.tasks", reason="django.tasks came with Django 6")
from django.tasks import TaskResultStatus, task  # noqa: E402
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist, TaskResultMismatch  # noqa: E402
from django.tasks.signals import task_enqueued, task_finished, task_started  # noqa: E402

pytestmark = pytest.mark.django_db


@task
def add(a: int, b: int = 1) -> int:
    return a + b


@task
async def later(text: str) -> str:
    return text.upper()


@task(takes_context=True)
def attempt(context: Any) -> int:
    number: int = context.attempt
    return number


@task
def failing() -> None:
    raise ValueError("no\0")


@pytest.fixture
def heard() -> Iterator[list[tuple[str, str]]]:
    """Signals as they come: which, and the status then."""
    told: list[tuple[str, str]] = []
    receivers = []
    signals = {"enqueued": task_enqueued, "started": task_started, "finished": task_finished}
    for name, signal in signals.items():

        def hear(sender: object, task_result: Any, name: str = name, **others: object) -> None:
            told.append((name, task_result.status))

        receivers.append((signal, hear))
        signal.connect(hear)
    yield told
    for signal, hear in receivers:
        signal.disconnect(hear)


def work() -> int:
    running = claim("test:1", 10)
    for job in running:
        execute(job)
    return len(running)


def test_a_task_is_a_job_and_its_result_can_be_read(heard: list[tuple[str, str]]) -> None:
    result = add.enqueue(2, b=3)
    assert (result.status, result.args, result.kwargs) == (TaskResultStatus.READY, [2], {"b": 3})
    assert result.enqueued_at is not None
    assert work() == 1
    result.refresh()
    assert result.status == TaskResultStatus.SUCCESSFUL
    assert result.return_value == 5
    assert (result.attempts, result.worker_ids, result.errors) == (1, ["test:1"], [])
    assert result.finished_at >= result.started_at
    assert add.get_result(result.id).return_value == 5
    assert heard == [("enqueued", "READY"), ("started", "RUNNING"), ("finished", "SUCCESSFUL")]


def test_a_task_is_queued_in_the_callers_transaction() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        add.enqueue(1)
        raise ZeroDivisionError
    assert work() == 0


def test_a_task_may_wait_and_may_be_urgent() -> None:
    add.enqueue(1)
    urgent = add.using(priority=1).enqueue(2)
    waiting = add.using(run_after=database_now() + timedelta(hours=1)).enqueue(3)
    first, _ = claim("test:1", 10)
    assert str(first.id) == urgent.id
    assert Job.objects.get(pk=waiting.id).state == "waiting"
    assert waiting.task.run_after > database_now()


def test_coroutines_and_contexts_work() -> None:
    upper, number = later.enqueue("a"), attempt.enqueue()
    work()
    assert later.get_result(upper.id).return_value == "A"
    assert attempt.get_result(number.id).return_value == 1


def test_a_failed_task_is_retried_and_keeps_each_error(heard: list[tuple[str, str]]) -> None:
    result = failing.enqueue()
    for number in range(1, 6):
        due(result.id)
        work()
        result.refresh()
        assert len(result.errors) == result.attempts == number
        assert result.errors[-1].exception_class is ValueError
        assert "raise ValueError" in result.errors[-1].traceback
        assert result.status == (TaskResultStatus.FAILED if number == 5 else TaskResultStatus.READY)
    with pytest.raises(ValueError, match="failed"):
        _ = result.return_value
    assert heard.count(("finished", "FAILED")) == 1
    assert heard.count(("started", "RUNNING")) == 5


def test_an_unknown_result_raises_an_error() -> None:
    result = add.enqueue(1)
    for unknown in (str(new_id()), "nonsense"):
        with pytest.raises(TaskResultDoesNotExist):
            add.get_result(unknown)
    with pytest.raises(TaskResultMismatch):
        failing.get_result(result.id)


def test_arguments_that_are_not_json_are_refused() -> None:
    with pytest.raises(TypeError):
        add.enqueue(object())
    with pytest.raises(InvalidTask):
        add.using(queue_name="other").enqueue(1)
    assert not Job.objects.exists()
