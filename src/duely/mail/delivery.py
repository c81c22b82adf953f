"""From a job to the mail server."""

import structlog

from duely.jobs.queue import Postponed, Running
from duely.mail import transport
from duely.mail.messages import Mail

log = structlog.get_logger("duely.mail")


def deliver(running: Running, mail: Mail, **about: str) -> bool:
    """Send the mail of a job; returns False when it was refused for good, which is logged with `about`.

    Raises Postponed when it may be tried again, LeaseLost when the job is another worker's by now.
    """
    # A worker that was held up before this line, longer than its lease, has no say any more.
    running.confirm()
    try:
        transport.send(mail)
    except transport.PermanentFailure as failure:
        log.warning("a mail was refused for good", job=running.name, reason=str(failure), **about)
        return False
    except transport.TemporaryFailure as failure:
        raise Postponed(str(failure)) from failure
    return True
