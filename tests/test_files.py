"""Files that are written: whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from depthwise import files
from depthwise.errors import DepthwiseError


def test_a_file_is_put_into_place_for_everyone_to_read(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    files.put(file, "before")
    files.put(file, "after")
    assert [each.read_text() for each in tmp_path.iterdir()] == ["after"]
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_file_that_cannot_be_replaced_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bench.json"
    file.write_text("before")

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(DepthwiseError, match="can be written; got no space left"):
        files.put(file, "after")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [
        ("bench.json", "before")
    ]


def test_a_file_in_a_new_folder_can_be_written(tmp_path: Path) -> None:
    files.check_writable(tmp_path / "new" / "bench.json")
    assert (tmp_path / "new").is_dir()


def test_a_folder_is_no_file_to_write(tmp_path: Path) -> None:
    with pytest.raises(DepthwiseError, match="a file that can be written; got"):
        files.check_writable(tmp_path)
