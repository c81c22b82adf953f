"""The secret key that a new installation generates."""

import os
import secrets
import stat
from pathlib import Path

from duely.config.env import SettingError

FILE_NAME = "secret_key"


def load_or_make(data_dir: Path) -> str:
    """The key in `data_dir/secret_key`, generated on first use with mode 0600.

    Processes that start at the same time get the same key: each writes a complete file of its own and links it to the
    final name, and only one link can succeed.
    """
    path = data_dir / FILE_NAME
    try:
        if not path.exists():
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            _publish(path)
        return _read(path)
    except OSError as error:
        raise SettingError(
            "DATA_DIR", f"the secret key cannot be kept in {path}: {error.strerror}. Make the directory writable."
        ) from None


def _publish(path: Path) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()


def _read(path: Path) -> str:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise SettingError(
            "DATA_DIR", f"{path} can be read by others (mode {mode:04o}). Run: chmod 600 {path}, and change the key."
        )
    key = path.read_text(encoding="ascii", errors="replace").strip()
    if not key:
        raise SettingError("DATA_DIR", f"{path} is empty. Remove it, and a new key is made at the next start.")
    return key
