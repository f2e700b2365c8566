"""A written file is the old one or the new one, never a part."""

import os
import stat
from pathlib import Path

import pytest

from caffe_lite.atomic import atomic_write
from caffe_lite.errors import CaffeError


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
