"""Detects whether a service manager, a container or a person at a terminal runs this process."""

import os
from collections.abc import Mapping
from pathlib import Path

# Environment variables of systemd, Kubernetes, supervisord, Heroku, Render and Fly; podman and others set `container`.
SET_BY_MANAGERS = (
    "INVOCATION_ID",
    "KUBERNETES_SERVICE_HOST",
    "SUPERVISOR_ENABLED",
    "DYNO",
    "RENDER",
    "FLY_APP_NAME",
    "container",
)
MADE_IN_CONTAINERS = (Path("/.dockerenv"), Path("/run/.containerenv"))


def drain_seconds(environment: Mapping[str, str]) -> int:
    """How long to serve on after SIGTERM, so that a proxy notices the stop. 0 at a terminal (decision 0032)."""
    return 3 if is_managed(environment) else 0


def is_managed(environment: Mapping[str, str]) -> bool:
    """Whether a service manager or a container runs this process, without a terminal."""
    if any(os.isatty(descriptor) for descriptor in (0, 1, 2)):
        return False
    return (
        os.getpid() == 1
        or any(environment.get(name) for name in SET_BY_MANAGERS)
        or any(path.exists() for path in MADE_IN_CONTAINERS)
    )
