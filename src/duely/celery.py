"""What `celery -A duely` loads."""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "duely.config.settings")
django.setup()

from celery import signals  # noqa: E402 - settings come first

from duely.cli.exits import failures_as_sentences  # noqa: E402
from duely.cli.keys import refuse_other_key_if_reachable  # noqa: E402
from duely.cli.pooler import refuse_pooler_if_reached  # noqa: E402
from duely.jobs.celery import app  # noqa: E402

__all__ = ["app"]


@signals.worker_init.connect
@signals.beat_init.connect
def check_database(**_: Any) -> None:
    """End the worker or the beat behind a pooler that loses sessions, or with another secret key than the database's.

    The same sentences and exit codes as of `duely worker`.
    """
    with failures_as_sentences():
        refuse_pooler_if_reached()
        refuse_other_key_if_reachable()
