"""A written file is always the old one or the new one, never a part."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from caffe_lite.errors import CaffeError
from caffe_lite.files.atomic import atomic_write


def test_writes_a_new_file_and_leaves_nothing_else(tmp_path: Path):
    with atomic_write(tmp_path / "a.bin") as part:
        part.write_bytes(b"new")
        assert part.parent == tmp_path
        assert not (tmp_path / "a.bin").exists()
    assert (tmp_path / "a.bin").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_failure_leaves_the_old_file_alone(tmp_path: Path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def fail():
        with atomic_write(target) as part:
            part.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")
def test_permissions_and_links_stay(tmp_path: Path):
    target, link, plain = tmp_path / "a.bin", tmp_path / "link", tmp_path / "plain"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    with atomic_write(link) as part:
        part.write_bytes(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    plain.touch()
    with atomic_write(tmp_path / "fresh"):
        pass
    assert (tmp_path / "fresh").stat().st_mode == plain.stat().st_mode


def test_a_missing_folder_is_named(tmp_path: Path):
    target = tmp_path / "none" / "a.bin"
    with pytest.raises(CaffeError, match=r"a\.bin: cannot write this file: .* Make the folder first") as caught:
        atomic_write(target).__enter__()
    assert str(target.parent) in str(caught.value)


def test_a_folder_is_no_file(tmp_path: Path):
    with pytest.raises(CaffeError, match="it is a folder"):
        atomic_write(tmp_path).__enter__()
    assert os.listdir(tmp_path) == []


LEFT = ".run_iter_100.caffemodel.0123456789ab.tmp"


def write(target: Path) -> None:
    with atomic_write(target) as part:
        part.write_bytes(b"new")


@pytest.mark.parametrize("name", ["run_iter_100.caffemodel", "run_iter_2000.caffemodel"])
def test_what_a_killed_process_left_is_removed(tmp_path: Path, name: str):
    """Kill a real process while it writes; the next process writes the same file, or the next one of its kind."""
    script = (
        "import sys, time\nfrom caffe_lite.files.atomic import atomic_write\n"
        "with atomic_write('run_iter_100.caffemodel') as part:\n"
        "    part.write_bytes(bytes(9999))\n    print('writing', flush=True)\n    time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    child = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
    with child:
        assert child.stdout.readline().startswith(b"writing")
        write(tmp_path / name)
        assert len(os.listdir(tmp_path)) == 2  # its part is kept while the process runs
        child.kill()
    (left,) = (file for file in tmp_path.iterdir() if file.name.startswith("."))
    if os.name == "nt":
        os.utime(left, (0, 0))
    write(tmp_path / name)
    assert os.listdir(tmp_path) == [name]


def test_a_folder_that_was_left_is_removed(tmp_path: Path):
    (tmp_path / LEFT).mkdir()
    (tmp_path / LEFT / "data.mdb").write_bytes(b"x")
    os.utime(tmp_path / LEFT / "data.mdb", (0, 0))
    os.utime(tmp_path / LEFT, (0, 0))
    write(tmp_path / "run_iter_1.caffemodel")
    assert os.listdir(tmp_path) == ["run_iter_1.caffemodel"]


@pytest.mark.parametrize(
    "name",
    [
        LEFT[1:],  # not hidden
        LEFT.replace("0123456789ab", "0123456789a"),
        LEFT.replace("0123456789ab", "0123456789AB"),
        LEFT.replace(".tmp", ".temp"),
        LEFT + "~",
        LEFT.replace("run", "ran"),
        LEFT.replace("caffemodel", "solverstate"),
        ".run_iter_.caffemodel.0123456789ab.tmp",
        "run_iter_100.caffemodel.tmp",
    ],
)
def test_what_is_not_left_over_stays(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"mine")
    os.utime(tmp_path / name, (0, 0))
    write(tmp_path / "run_iter_100.caffemodel")
    assert (tmp_path / name).read_bytes() == b"mine"


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_bytes(b"mine")
    try:
        (tmp_path / LEFT).symlink_to(tmp_path / "mine")
    except OSError as error:
        pytest.skip(str(error))
    write(tmp_path / "run_iter_100.caffemodel")
    assert (tmp_path / "mine" / "file").read_bytes() == b"mine"


def test_where_folders_have_no_locks_age_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("caffe_lite.files.atomic.fcntl", None)
    old, fresh = tmp_path / LEFT, tmp_path / LEFT.replace("100", "200")
    for file in (old, fresh):
        file.write_bytes(b"x")
    os.utime(old, (0, 0))
    write(tmp_path / "run_iter_300.caffemodel")
    assert sorted(os.listdir(tmp_path)) == [fresh.name, "run_iter_300.caffemodel"]


def test_a_folder_that_others_lock_can_be_written_to(tmp_path: Path):
    """The folder is locked as by `flock FOLDER command`."""
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / LEFT).write_bytes(b"x")
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    write(tmp_path / "run_iter_100.caffemodel")
    assert sorted(os.listdir(tmp_path)) == [LEFT, "run_iter_100.caffemodel"]
    os.close(folder)
    write(tmp_path / "run_iter_100.caffemodel")
    assert os.listdir(tmp_path) == ["run_iter_100.caffemodel"]


def test_many_processes_write_one_file(tmp_path: Path):
    """No process removes the part of another."""
    script = (
        "from caffe_lite.files.atomic import atomic_write\n"
        "for number in range(200):\n"
        "    with atomic_write(f'run_iter_{number % 7}') as part:\n        part.write_bytes(bytes(9999))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    children = [
        subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for child in children:
        with child:
            assert child.stderr.read() == b""
        assert child.returncode == 0
    assert sorted(os.listdir(tmp_path)) == [f"run_iter_{number}" for number in range(7)]
