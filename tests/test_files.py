"""Files that are written: whole, or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from depthwise import files
from depthwise.errors import DepthwiseError


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_file_is_put_into_place_for_whom_the_umask_says(
    tmp_path: Path, umask: int, mode: int
) -> None:
    file = tmp_path / "bench.json"
    before = os.umask(umask)
    try:
        files.put(file, "before")
        files.put(file, "after")
    finally:
        os.umask(before)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["after"]
    assert file.stat().st_mode & 0o777 == mode


def test_a_file_that_cannot_be_replaced_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bench.json"
    file.write_text("before")

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(DepthwiseError, match=r"can be written; got .*: no space left"):
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


def read_through(link: Path) -> bytes:
    assert link.is_symlink()
    return link.read_bytes()


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "elsewhere" / "real.json", tmp_path / "link.json"
    target.parent.mkdir()
    target.write_text("before")
    link.symlink_to("elsewhere/real.json")
    files.put(link, "after")
    assert read_through(link) == target.read_bytes() == b"after"
    assert not target.is_symlink()


def test_a_link_to_what_is_not_there_yet_is_followed(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to("new/real.json")
    files.check_writable(link)
    files.put(link, "after")
    assert read_through(link) == (tmp_path / "new" / "real.json").read_bytes() == b"after"


def test_the_permissions_of_a_file_stay(tmp_path: Path) -> None:
    file = tmp_path / "private.json"
    file.touch(mode=0o600)
    files.put(file, "after")
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def device(tmp_path: Path) -> Callable[[int], Path]:
    """Return what makes a device like one in /dev, which a test must not lose, by its number."""

    def device(minor: int) -> Path:
        node = tmp_path / "node"
        try:
            os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
            node.open("wb").close()
        except OSError as error:
            pytest.skip(f"only root makes devices: {error}")
        return node

    return device


NULL, FULL = 3, 7


def test_a_device_is_written_to_and_stays(tmp_path: Path, device: Callable[[int], Path]) -> None:
    node, link = device(NULL), tmp_path / "link"
    link.symlink_to(node)
    for file in (node, link):
        files.check_writable(file)
        files.put(file, "results")
    assert node.is_char_device()
    assert link.is_symlink()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_device_that_is_full_is_said_to_be(device: Callable[[int], Path]) -> None:
    node = device(FULL)
    with pytest.raises(DepthwiseError, match=r"can be written; got .*/node: No space left"):
        files.put(node, "results")
    assert node.is_char_device()


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    files.check_writable(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files.put(pipe, "results")
    assert os.read(reader, 100) == b"results"
    os.close(reader)
    assert pipe.is_fifo()
    assert files.is_stream(pipe)


SAYS_AND_PUTS = """
import sys
from pathlib import Path
from depthwise import files
file = Path(sys.argv[1])
print("before")
files.check_writable(file)
files.put(file, "results\\n")
print("after")
"""


@pytest.fixture
def stdout_link(tmp_path: Path) -> Path:
    """A link like /dev/stdout, which a test must not lose."""
    link = tmp_path / "stdout"
    link.symlink_to("/proc/self/fd/1")
    return link


@pytest.mark.parametrize("mode", ["w", "a"])
@pytest.mark.parametrize("named", ["by its name", "as standard output"])
def test_a_file_that_stdout_goes_to_keeps_what_is_printed(
    tmp_path: Path, stdout_link: Path, mode: str, named: str
) -> None:
    """The shell holds it open."""
    file = tmp_path / "out.txt"
    name = file if named == "by its name" else stdout_link
    with file.open(mode) as stdout:
        subprocess.run([sys.executable, "-c", SAYS_AND_PUTS, name], stdout=stdout, check=True)
    assert file.read_text() == "before\nresults\nafter\n"
    assert stdout_link.is_symlink()


def test_a_pipe_that_stdout_goes_to_keeps_what_is_printed(stdout_link: Path) -> None:
    command = [sys.executable, "-c", SAYS_AND_PUTS, stdout_link]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "before\nresults\nafter\n"
    assert stdout_link.is_symlink()


def test_what_somebody_else_keeps_beside_a_file_stays(tmp_path: Path) -> None:
    beside = [tmp_path / f"bench.json{end}" for end in (".part", ".new", ".tmp", "~")]
    for other in beside:
        other.write_text("mine")
    files.check_writable(tmp_path / "bench.json")
    files.put(tmp_path / "bench.json", "results")
    assert [other.read_text() for other in beside] == ["mine"] * len(beside)
    assert len(list(tmp_path.iterdir())) == 1 + len(beside)


def test_a_failure_while_it_is_written_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    file.write_text("before")

    def write_half() -> None:
        with files.written(file) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert [each.read_text() for each in tmp_path.iterdir()] == ["before"]


@pytest.mark.parametrize("file", ["/proc/bench.json", "/proc/version", "/sys/bench.json"])
def test_where_no_file_can_be_is_found_beforehand(file: str) -> None:
    with pytest.raises(DepthwiseError, match="a file that can be written; got"):
        files.check_writable(Path(file))
    with pytest.raises(DepthwiseError, match="a file that can be written; got"):
        files.put(Path(file), "results")


def test_a_name_that_is_too_long_is_found_beforehand(tmp_path: Path) -> None:
    with pytest.raises(DepthwiseError, match="a file that can be written; got"):
        files.check_writable(tmp_path / "new" / (256 * "a"))


@pytest.mark.parametrize("options", ["nr_inodes=2", "nr_inodes=100,size=4k", "ro"])
def test_a_disk_that_takes_no_more_is_found_beforehand(tmp_path: Path, options: str) -> None:
    """One without inodes, a full one, one that may only be read."""
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root mounts disks")
    try:
        if options != "ro":
            (tmp_path / "full").touch()
        if "size" in options:
            (tmp_path / "full").write_bytes(bytes(4096))
        with pytest.raises(DepthwiseError, match="a file that can be written; got"):
            files.check_writable(tmp_path / "bench.json")
        assert not (tmp_path / "bench.json").exists()
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_file_or_folder_of_others_is_found_beforehand(bound_by_permissions: Path) -> None:
    file = bound_by_permissions / "bench.json"
    file.touch(mode=0o444)
    with pytest.raises(DepthwiseError, match="a file that can be written; got"):
        files.check_writable(file)
    file.unlink()
    files.check_writable(file)
    bound_by_permissions.chmod(0o500)
    with pytest.raises(DepthwiseError, match="a file that can be written; got"):
        files.check_writable(file)


def test_looking_leaves_nothing_behind_and_touches_no_file(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    files.check_writable(file)
    assert list(tmp_path.iterdir()) == []
    file.write_text("before")
    files.check_writable(file)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["before"]


def test_what_killed_processes_were_writing_is_removed_when_it_is_old(tmp_path: Path) -> None:
    ours = [tmp_path / f".depthwise-{number:016x}" for number in range(3)]
    others = [tmp_path / name for name in (".depthwise-notes", ".depthwise-0", ".writing-0", "a")]
    for path in (*ours, *others):
        path.write_text("half")
        os.utime(path, (0, 0))
    os.utime(ours[2])
    folder, link = (tmp_path / f".depthwise-{2**60 + number:016x}" for number in (1, 2))
    folder.mkdir()
    link.symlink_to("a")
    files.put(tmp_path / "bench.json", "results")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {path.name for path in (ours[2], *others, folder, link)} | {"bench.json"}
