import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from duely.config import secret
from duely.config.env import SettingError


def test_a_key_is_made_once_for_this_user_alone(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "data"
    key = secret.load_or_make(directory)
    assert len(key) >= 64
    assert secret.load_or_make(directory) == key
    assert stat.S_IMODE((directory / "secret_key").stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert [path.name for path in directory.iterdir()] == ["secret_key"]


def test_many_that_start_at_once_end_with_one_key(tmp_path: Path) -> None:
    barrier = Barrier(16)

    def start(_: int) -> str:
        barrier.wait()
        return secret.load_or_make(tmp_path)

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(start, range(16)))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    secret.load_or_make(tmp_path)
    (tmp_path / "secret_key").chmod(0o644)
    with pytest.raises(SettingError, match=r"can be read by others \(mode 0644\)\. Run: chmod 600"):
        secret.load_or_make(tmp_path)


def test_an_empty_key_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret_key").touch(mode=0o600)
    with pytest.raises(SettingError, match="is empty"):
        secret.load_or_make(tmp_path)


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="DATA_DIR: the secret key cannot be kept"):
        secret.load_or_make(tmp_path / "file" / "data")
