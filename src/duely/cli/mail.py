"""`duely mail`: previews of the mails that Duely sends."""

from pathlib import Path

from duely.cli.exits import Failure


def preview(directory: Path) -> None:
    """Write every kind of mail with sample contents as .html and .txt, and print the paths."""
    import django

    django.setup()
    from duely.accounts import previews as accounts
    from duely.notifications import previews as notifications

    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, mail in (*accounts.previews(), *notifications.previews()):
            for suffix, content in (("html", mail.html), ("txt", f"Subject: {mail.subject}\n\n{mail.text}")):
                path = directory / f"{name}.{suffix}"
                path.write_text(content, encoding="utf-8")
                print(path)
    except OSError as error:
        raise Failure(f"{directory} cannot be written to: {error.strerror}. Choose another with --to.") from None
