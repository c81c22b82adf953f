"""A backend for Django's background tasks (`django.tasks`, Django 6 and later) on our queue.

A failed task is tried again like any job, so it may run more than once. Its result is FAILED only after the last
attempt. The queue knows only the name of the last worker: `worker_ids` repeats it once for each attempt. A result is
deleted with its job.
"""

from collections.abc import Mapping, Sequence
from traceback import format_exception
from typing import Any
from uuid import UUID

from django.tasks import Task, TaskContext, TaskResult, TaskResultStatus, task_backends
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import TaskError
from django.tasks.exceptions import TaskResultDoesNotExist
from django.tasks.signals import task_enqueued, task_finished, task_started
from django.utils.json import normalize_json
from django.utils.module_loading import import_string

from duely.jobs.models import Job
from duely.jobs.queue import Running, enqueue, remember
from duely.jobs.registry import job
from duely.jobs.rules import State

STATUS = {
    State.WAITING: TaskResultStatus.READY,
    State.RUNNING: TaskResultStatus.RUNNING,
    State.DONE: TaskResultStatus.SUCCESSFUL,
    State.DEAD: TaskResultStatus.FAILED,
}
ATTEMPTS = 5
TIMEOUT_SECONDS = 300


class DuelyBackend(BaseTaskBackend):
    """Queues tasks as jobs, in the caller's transaction. A priority above 0 makes a job urgent."""

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def enqueue(  # type: ignore[override] # Django's method is generic over the function; our arguments are JSON
        self, task: "Task[..., Any]", args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> "TaskResult[..., Any]":
        """Queue a task. Raises TypeError for arguments that are not JSON."""
        self.validate_task(task)
        job_id = enqueue(
            urgent_task if task.priority > 0 else usual_task,
            run_at=task.run_after,
            task=task.module_path,
            backend=self.alias,
            priority=task.priority,
            queue=task.queue_name,
            args=normalize_json(list(args)),
            kwargs=normalize_json(dict(kwargs)),
        )
        result = self.get_result(str(job_id))
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> "TaskResult[..., Any]":
        """The state of a task. Raises TaskResultDoesNotExist for an unknown id and for a task that ended long ago."""
        names = (usual_task.name, urgent_task.name)
        try:
            return _result(Job.objects.get(pk=UUID(result_id), name__in=names))
        except (ValueError, Job.DoesNotExist):
            raise TaskResultDoesNotExist(result_id) from None


def _run(running: Running, *, backend: str, **stored: Any) -> None:
    task_backend = task_backends[backend]
    result = task_backend.get_result(str(running.id))
    task_started.send(type(task_backend), task_result=result)
    context = [TaskContext(task_result=result)] if result.task.takes_context else []
    try:
        value = normalize_json(result.task.call(*context, *result.args, **result.kwargs))
    except Exception as error:
        errors = [*stored.get("errors", ()), _error_as_json(error)]
        remember(running, errors=errors)
        result.errors.append(TaskError(**errors[-1]))
        if running.attempt >= ATTEMPTS:
            # Results are frozen dataclasses; Django's own backends set their attributes the same way.
            object.__setattr__(result, "status", TaskResultStatus.FAILED)
            object.__setattr__(result, "finished_at", running.now)
            task_finished.send(type(task_backend), task_result=result)
        raise
    running.finish(lambda: remember(running, result=value))
    result.refresh()
    task_finished.send(type(task_backend), task_result=result)


usual_task = job("jobs.django_task", attempts=ATTEMPTS, timeout_seconds=TIMEOUT_SECONDS)(_run)
urgent_task = job("jobs.urgent_django_task", attempts=ATTEMPTS, timeout_seconds=TIMEOUT_SECONDS, urgent=True)(_run)


def _result(row: Job) -> "TaskResult[..., Any]":
    call = row.args
    task = import_string(call["task"]).using(
        priority=call["priority"], queue_name=call["queue"], backend=call["backend"], run_after=row.run_at
    )
    result: TaskResult[..., Any] = TaskResult(
        task=task,
        id=str(row.pk),
        status=STATUS[State(row.state)],
        enqueued_at=row.created_at,
        started_at=row.started_at,
        last_attempted_at=row.started_at,
        finished_at=row.finished_at,
        args=call["args"],
        kwargs=call["kwargs"],
        backend=call["backend"],
        errors=[TaskError(**error) for error in call.get("errors", ())],
        worker_ids=[row.worker] * row.attempts,
    )
    object.__setattr__(result, "_return_value", call.get("result"))  # as Django's own backends do
    return result


def _error_as_json(error: Exception) -> dict[str, str]:
    kind = type(error)
    # PostgreSQL's JSON stores neither NUL nor lone surrogates, which a traceback may contain.
    text = "".join(format_exception(error)).replace("\0", "").encode(errors="replace").decode()
    return {"exception_class_path": f"{kind.__module__}.{kind.__qualname__}", "traceback": text}
