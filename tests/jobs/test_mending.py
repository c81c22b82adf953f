"""What people do with the queue: the admin's pages and `duely jobs`."""

from collections.abc import Callable

import pytest
from django.test import Client

from cast import PASSWORD, adam
from duely.jobs.models import Job
from duely.jobs.queue import claim, enqueue, fail, tick
from duely.jobs.registry import Definition
from jobs import sample
from jobs.rig import Rig

Define = Callable[..., Definition]


@pytest.mark.django_db
def test_an_admin_sees_jobs_and_restarts_dead_ones(define: Define) -> None:
    adam()
    client = Client()
    client.post("/admin/login/?next=/admin/", {"username": "adam", "password": PASSWORD})
    tick()
    Job.objects.all().delete()
    dead, waiting = enqueue(define(attempts=1), number=1), None
    (running,) = claim("test:1", 1)
    fail(running, "ValueError: <b>no</b>")
    waiting = enqueue(define(name="test.other"))
    page = client.get("/admin/jobs/job/").content.decode()
    assert "ValueError: &lt;b&gt;no&lt;/b&gt;" in page
    assert client.get(f"/admin/jobs/job/{dead}/change/").status_code == 200
    assert client.get("/admin/jobs/schedule/").status_code == 200
    assert client.get("/admin/jobs/job/add/").status_code == 403
    chosen = {"action": "run_again", "_selected_action": [str(dead), str(waiting)]}
    answer = client.post("/admin/jobs/job/", chosen, follow=True)
    assert "1 queued again; others were not dead." in answer.content.decode()
    assert set(Job.objects.values_list("state", "attempts")) == {("waiting", 0)}


def output(rig: Rig, *arguments: str) -> tuple[int, str]:
    program = rig.start("jobs", *arguments)
    code = program.process.wait(60)
    return code, program.out.read_text()


@pytest.mark.process
def test_the_command_line_shows_and_restarts_jobs(rig: Rig) -> None:
    job_id = rig.queue(sample.crash, "crash")
    rig.queue(sample.note, "note")
    Job.objects.filter(pk=job_id).update(state="dead", attempts=3, error="It died.\nTwice.")
    assert output(rig, "list", "--state", "done") == (0, "No done jobs.\n")
    assert output(rig, "list", "--state", "dead", "--name", "no.such") == (0, "No dead jobs named no.such.\n")
    assert "sample.note" not in output(rig, "list", "--state", "dead")[1]
    code, text = output(rig, "list")
    assert code == 0
    assert "       1 dead     sample.crash" in text
    assert f"{job_id}  dead" in text
    assert "attempts  3  sample.crash  It died.\n" in text
    code, text = output(rig, "list", "--state", "ill")
    assert (code, text) == (2, "duely: --state is one of waiting, running, done, dead, not 'ill'.\n")
    assert output(rig, "retry", str(job_id)) == (0, "1 queued again.\n")
    assert Job.objects.get(pk=job_id).state == "waiting"
    Job.objects.filter(pk=job_id).update(state="dead")
    assert output(rig, "purge", "--dead") == (0, "1 removed.\n")
    assert output(rig, "list", "--state", "dead") == (0, "No dead jobs.\n")
    assert [job.name for job in Job.objects.all()] == ["sample.note"]
