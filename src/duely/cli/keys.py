"""Checks that all processes of a database have the same secret key."""

from duely.cli.exits import Exit, Failure


def refuse_other_key() -> None:
    """Raise Failure if the database belongs to a key that this process does not have.

    The first process stores the fingerprint of its key. Before the first migration nothing is compared.
    """
    from django.db import connection

    from duely.core.clock import now
    from duely.core.keys import fingerprints
    from duely.guard.actions import claim_key
    from duely.guard.models import InstalledKey

    if InstalledKey._meta.db_table not in connection.introspection.table_names():
        return
    installed = claim_key(now=now())
    if installed not in fingerprints():
        raise Failure(
            f"SECRET_KEY: the database belongs to another key (fingerprint {installed}, here {fingerprints()[0]}). "
            "Give every node the same SECRET_KEY: the one of the node that ran first, from its settings or its "
            "DATA_DIR/secret_key. To change the key, put the old one into SECRET_KEY_FALLBACKS. If it is lost, run: "
            "duely migrate --adopt-key",
            Exit.WRONG_USE,
        )


def refuse_other_key_if_reachable() -> None:
    """Call `refuse_other_key`, but ignore an unreachable database: then `/readyz` compares the keys later."""
    import structlog
    from django.db import InterfaceError, OperationalError, connection

    try:
        refuse_other_key()
    except (OperationalError, InterfaceError) as error:
        log = structlog.get_logger("duely.web")
        log.warning("no database: the secret key is compared later", error=str(error).strip())
    finally:
        connection.close()


def adopt_key() -> list[str]:
    """Store the fingerprint of this process's key. Returns lines to print."""
    from duely.core.clock import now
    from duely.core.keys import fingerprints
    from duely.guard import actions

    actions.adopt_key(now=now())
    return [
        f"The database belongs to this secret key now (fingerprint {fingerprints()[0]}).",
        "Codes and links that were sent, and open pages of the admin, work no more. Apps renew their tokens.",
    ]
