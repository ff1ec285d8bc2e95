"""The cache folder: whom it is trusted to belong to, and files put into it whole."""

from __future__ import annotations

import errno
import os
import signal
import stat
import tempfile
import warnings
from pathlib import Path

import pytest

from depthwise.errors import CacheWarning
from depthwise.machine import trust
from depthwise.store import disk

ROOT = os.geteuid() == 0
STRANGER = 4321


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The cache folder of one test, not there yet."""
    monkeypatch.setattr(disk, "_said", set())
    path = tmp_path / "above" / "cache"
    monkeypatch.setenv(disk.VARIABLE, str(path))
    return path


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def assert_refused_once(*patterns):
    """The folder is refused with one warning, however often it is asked for."""
    with pytest.warns(CacheWarning) as caught:
        assert disk.folder("kernels") is None
    (warning,) = caught
    for pattern in (*patterns, disk.VARIABLE):
        assert pattern in str(warning.message)
    assert disk.folder("kernels") is None


def test_the_folder_is_made_for_its_owner_alone_whatever_the_umask(place):
    before = os.umask(0)
    try:
        assert disk.folder("kernels", "one") == place / "kernels" / "one"
    finally:
        os.umask(before)
    for path in (place.parent, place, place / "kernels", place / "kernels" / "one"):
        assert mode(path) == 0o700


def test_an_empty_variable_means_no_folder_and_no_warning(place, monkeypatch):
    monkeypatch.setenv(disk.VARIABLE, "")
    assert disk.root() is None
    assert disk.folder("kernels") is None


def test_without_the_variable_it_is_the_users_cache_folder(place, tmp_path, monkeypatch):
    monkeypatch.delenv(disk.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert disk.folder() == tmp_path / "depthwise"


def test_a_home_and_a_link_in_the_variable_are_followed(place, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setenv(disk.VARIABLE, "~/link")
    assert disk.folder() == tmp_path / "real"


@pytest.mark.parametrize("permissions", [0o777, 0o770, 0o702, 0o1777])
@pytest.mark.parametrize("inside", [(), ("kernels",)])
def test_a_folder_that_others_can_write_to_is_refused(place, permissions, inside):
    assert disk.folder("kernels") is not None
    place.joinpath(*inside).chmod(permissions)
    assert_refused_once(f"{permissions:04o}", str(place.joinpath(*inside)), "chmod go-w")
    place.joinpath(*inside).chmod(0o755)
    assert disk.folder("kernels") is not None


def test_a_parent_that_others_can_write_to_is_refused_unless_sticky(place):
    assert disk.folder() is not None
    place.parent.chmod(0o757)
    assert_refused_once("0757", str(place.parent))
    place.parent.chmod(0o1777)
    assert disk.folder() == place


def test_a_group_may_write_above_only_if_it_is_the_users_own(place, monkeypatch):
    assert disk.folder() is not None
    place.parent.chmod(0o775)
    monkeypatch.setattr(trust, "_own_group", lambda gid: gid == place.stat().st_gid)
    assert disk.folder() == place
    monkeypatch.setattr(trust, "_own_group", lambda _: False)
    assert_refused_once("0775", str(place.parent))


@pytest.mark.parametrize(
    ("name", "members", "own"),
    [("ann", [], True), ("ann", ["ann"], True), ("ann", ["bob"], False), ("staff", [], False)],
)
def test_a_group_is_the_users_own_by_its_name_and_members(monkeypatch, name, members, own):
    import grp
    import pwd

    user = pwd.struct_passwd(("ann", "x", 1000, 1000, "", "/home/ann", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: user)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group((name, "x", gid, members)))
    assert trust._own_group(1000) is own


def test_a_user_or_group_without_a_name_has_no_group_of_its_own(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 2**31 - 7)
    assert trust._own_group(os.getegid()) is False


def test_a_folder_of_another_user_is_refused(place, monkeypatch):
    assert disk.folder() is not None
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    assert_refused_once("another user")


@pytest.mark.skipif(not ROOT, reason="only root can give a folder away")
@pytest.mark.parametrize("given", ["cache", "above"])
def test_a_folder_given_to_another_user_is_refused(place, given):
    assert disk.folder("kernels") is not None
    path = place if given == "cache" else place.parent
    os.chown(path, STRANGER, -1)
    assert_refused_once("another user", str(STRANGER), str(path))


@pytest.mark.parametrize("others", ["above", "cache"])
def test_nothing_is_made_in_a_folder_that_is_refused(place, others):
    refused = place if others == "cache" else place.parent
    refused.mkdir(parents=True)
    refused.chmod(0o777)
    assert_refused_once(str(refused))
    assert list(refused.iterdir()) == []


def test_a_file_where_the_folder_should_be_is_refused(place):
    place.parent.mkdir()
    place.write_text("a file")
    assert_refused_once(str(place))
    assert place.read_text() == "a file"


def test_a_folder_that_cannot_be_made_is_warned_about_once(place, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", full)
    assert_refused_once("Read-only file system", str(place))


def test_a_file_is_replaced_whole_and_is_its_owners_alone(place):
    path = disk.folder("plans") / "plans.json"
    assert disk.write_atomically(path, b"one")
    assert disk.write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert mode(path) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_read_if_it_is_its_owners_alone(place):
    path = disk.folder() / "file"
    disk.write_atomically(path, b"content")
    assert disk.read(path) == b"content"
    path.chmod(0o620)
    with pytest.raises(ValueError, match="0620"):
        disk.read(path)
    (place / "link").symlink_to(path)
    with pytest.raises(OSError, match="symbolic link"):
        disk.read(place / "link")
    os.mkfifo(place / "pipe")
    with pytest.raises(ValueError, match="not a file"):
        disk.read(place / "pipe")
    with pytest.raises(OSError, match="directory"):
        disk.read(place)
    with pytest.raises(FileNotFoundError):
        disk.read(place / "missing")


def assert_not_written_but_warned_once(path, why):
    with pytest.warns(CacheWarning, match=why) as caught:
        assert disk.write_atomically(path, b"new") is False
    assert len(caught) == 1
    assert str(path.parent) in str(caught[0].message)
    assert disk.write_atomically(path, b"new") is False
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("call", ["replace", "fsync", "open"])
def test_a_full_disk_leaves_the_old_file_and_warns_once(place, monkeypatch, call):
    path = disk.folder() / "file"
    path.write_bytes(b"old")

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    assert_not_written_but_warned_once(path, "No space left on device")


def test_a_folder_that_may_only_be_read_keeps_its_file_and_warns_once(bound_by_permissions):
    path = bound_by_permissions / "file"
    path.write_bytes(b"old")
    bound_by_permissions.chmod(0o500)
    assert_not_written_but_warned_once(path, "Permission denied")


def test_one_warning_of_a_kind_which_names_the_callers_line(place):
    with pytest.warns(CacheWarning, match="first") as caught:
        disk.warn_once("first")
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        disk.warn_once("first")
    with pytest.warns(CacheWarning, match="second"):
        disk.warn_once("second")


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder of temporary files of one test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left_by_a_killed_process():
    """Return the temporary folder of a process that was killed, with a file and a folder in it."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with trust.temporary_folder() as folder:
            (folder / "kernels").mkdir()
            (folder / "kernels" / "kernel.so").touch()
            os.write(writing, str(folder).encode())
            signal.pause()
    folder = Path(os.read(reading, 4096).decode())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)
    return folder


def age(folder):
    for path in (folder, *folder.iterdir()):
        os.utime(path, (0, 0))


def test_a_temporary_folder_whose_process_was_killed_is_swept_when_it_is_old(temporary):
    folder = left_by_a_killed_process()
    with trust.temporary_folder():
        assert folder.is_dir()
    age(folder)
    with trust.temporary_folder():
        assert not folder.exists()
    assert not [*temporary.iterdir()]


def test_a_temporary_folder_in_use_is_left_however_old(temporary):
    with trust.temporary_folder() as folder:
        age(folder)
        with trust.swept_folder():
            assert folder.is_dir()


def test_folders_of_others_that_are_named_alike_are_left(temporary):
    notes, pipe = temporary / "depthwise-notes123", temporary / "depthwise-pipe1234"
    for folder in (notes, pipe):
        folder.mkdir()
    (notes / "notes.txt").touch()
    os.mkfifo(pipe / trust.IN_USE)
    (temporary / "depthwise-link1234").symlink_to(notes, target_is_directory=True)
    for folder in (notes, pipe):
        age(folder)
    before = sorted(temporary.rglob("*"))
    with trust.temporary_folder():
        pass
    assert sorted(temporary.rglob("*")) == before
