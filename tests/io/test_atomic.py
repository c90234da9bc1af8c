from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest

from samepoint.errors import InputError
from samepoint.io.atomic import atomic_path, atomic_write, check_writable
from samepoint.io.images import write_image
from samepoint.io.tracks import SUFFIXES
from samepoint.structures import Queries, Tracks


def _entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_was_there_stays_when_anything_is_raised(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_text() -> None:
        with atomic_write(target, "w") as file:
            file.write("new")
            raise error

    def write_path() -> None:
        with atomic_path(tmp_path / "b.mp4") as temporary:
            temporary.write_bytes(b"half")
            raise error

    for write in (write_text, write_path):
        with pytest.raises(error):
            write()
    assert target.read_text() == "old"
    assert _entries(tmp_path) == ["a.txt"]


def test_the_file_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    with atomic_path(target) as temporary:
        assert (temporary.suffix, temporary.parent) == (".mp4", tmp_path)
        temporary.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert _entries(tmp_path) == ["a.mp4"]


def test_mode_and_link_are_kept(tmp_path: Path) -> None:
    real = tmp_path / "real.txt"
    real.write_text("old")
    real.chmod(0o640)
    link = tmp_path / "link.txt"
    link.symlink_to(real)
    with atomic_write(link, "w") as file:
        file.write("new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert real.stat().st_mode & 0o777 == 0o640


def test_a_new_file_has_the_mode_of_any_other(tmp_path: Path) -> None:
    """Some writers, that of safetensors among them, let nobody else read what they make."""
    (tmp_path / "plain").touch()
    with atomic_path(tmp_path / "new.txt") as temporary:
        assert not temporary.exists()
        temporary.touch(0o600)
    assert (tmp_path / "new.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert _entries(tmp_path) == ["new.txt", "plain"]


def test_unwritable_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_writable(tmp_path / "a.csv")
    check_writable("a.csv")
    with pytest.raises(InputError, match="there is no folder"):
        check_writable(tmp_path / "none" / "a.csv")
    with pytest.raises(InputError, match="it is a folder"):
        check_writable(tmp_path)
    (tmp_path / "a.csv").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).is_dir())
    with pytest.raises(InputError, match="write-protected"):
        check_writable(tmp_path / "a.csv")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="no permission"), atomic_write(tmp_path / "a.csv"):
        pass


def _full(*args: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _FullFile(io.FileIO):
    """A file on a disk with 40 bytes left."""

    def write(self, data: object) -> int:
        if self.tell() + len(memoryview(data)) > 40:  # type: ignore[arg-type]
            _full()
        return super().write(data)  # type: ignore[arg-type]


def test_what_cannot_be_made_is_called_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(PermissionError) as caught, atomic_path(tmp_path / "a.csv"):
        pytest.fail("nothing can be written here")
    assert caught.value.filename == str(tmp_path / "a.csv")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("moment", ["write", "fsync"])
def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, moment: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    target = tmp_path / f"tracks{suffix}"
    rng = np.random.default_rng(0)
    tracks = Tracks.from_confidence(rng.random((4, 30, 2)), rng.random((4, 30)), 25, (48, 64))
    target.write_bytes(b"old")
    if moment == "write":
        plain_open = Path.open

        def full_open(self: Path, mode: str = "r", *args: object, **kwargs: object) -> object:
            if mode == "wb" and self.name.startswith("."):
                return io.BufferedWriter(_FullFile(self, "wb"), 16)  # type: ignore[arg-type]
            return plain_open(self, mode, *args, **kwargs)  # type: ignore[call-overload]

        monkeypatch.setattr(Path, "open", full_open)
    else:
        monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError, match="No space left") as caught:
        tracks.save(target)
    assert caught.value.errno == errno.ENOSPC
    assert not isinstance(caught.value, InputError)
    assert target.read_bytes() == b"old"
    assert _entries(tmp_path) == [target.name]


def test_full_disk_for_queries_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError, match="No space left"):
        Queries.at([(1, 2)]).save(tmp_path / "queries.csv")
    with pytest.raises(OSError, match="No space left"):
        write_image(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    assert _entries(tmp_path) == []
