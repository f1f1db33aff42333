import os
import resource
import shutil
import time
from functools import partial

import pytest

from paxray_lib.utils.manifest import NAME, Manifest, read_manifest, read_source


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.png"
    path.write_text("1")
    return path


def make(manifest, output, source):
    manifest.start(output, source, read_source(source)[1])
    path = manifest.folder / output
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("made")


def change(path):
    path.write_text("2")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))


def test_an_output_is_done_while_its_sources_are_the_same(tmp_path, source):
    with Manifest(tmp_path / "out") as manifest:
        assert not manifest.is_done("a/x.pxm", source)
        make(manifest, "a/x.pxm", source)
    with Manifest(tmp_path / "out") as manifest:
        assert manifest.is_done("a/x.pxm", source)
        assert not manifest.is_done("a/x.pxm", source.parent)
        change(source)
        assert not manifest.is_done("a/x.pxm", source)
        make(manifest, "a/x.pxm", source)
        assert manifest.is_done("a/x.pxm", source)
        (manifest.folder / "a/x.pxm").unlink()
        assert not manifest.is_done("a/x.pxm", source)
        make(manifest, "a/x.pxm", source)
        source.unlink()
        assert not manifest.is_done("a/x.pxm", source)


def test_only_outputs_of_the_same_sources_may_be_written_over(tmp_path, source):
    with Manifest(tmp_path / "out") as manifest:
        make(manifest, "x", source)
        (manifest.folder / "mine.txt").touch()
        change(source)
        assert manifest.may_write("x", source)
        assert manifest.may_write("new", source)
        assert not manifest.may_write("x", tmp_path / "other.png")
        assert not manifest.may_write("mine.txt", source)


def test_what_is_forgotten_is_not_done_but_may_be_written_over(tmp_path, source):
    with Manifest(tmp_path / "out") as manifest:
        make(manifest, "x", source)
        manifest.forget()
    with Manifest(tmp_path / "out") as manifest:
        assert not manifest.is_done("x", source)
        assert manifest.may_write("x", source)


def test_starting_again_removes_the_older_output(tmp_path, source):
    with Manifest(tmp_path / "out") as manifest:
        make(manifest, "x", source)
        manifest.start("x", source, read_source(source)[1])
        assert not (manifest.folder / "x").exists()
        assert not manifest.is_done("x", source)


def test_half_a_line_costs_no_other(tmp_path, source):
    out = tmp_path / "out"
    with Manifest(out) as manifest:
        make(manifest, "x", source)
        make(manifest, "y", source)
    (out / NAME).write_text((out / NAME).read_text()[:-9])
    with Manifest(out) as manifest:
        assert manifest.is_done("x", source)
        assert not manifest.is_done("y", source)
        make(manifest, "z", source)
    assert set(read_manifest(out)) == {"x", "z"}


def test_the_first_of_several_processes_takes_over_what_the_others_recorded(tmp_path, source):
    out = tmp_path / "out"
    with Manifest(out) as first, Manifest(out, rank=1) as second:
        make(first, "x", source)
        make(second, "y", source)
    assert set(read_manifest(out)) == {"x", "y"}
    with Manifest(out) as manifest:  # as if cut off before `absorb`
        assert manifest.is_done("y", source)
    assert [path.name for path in out.glob("manifest*")] == [NAME]


def test_two_processes_do_not_work_in_one_folder(tmp_path):
    with Manifest(tmp_path), pytest.raises(ValueError, match="another process"):
        Manifest(tmp_path)
    Manifest(tmp_path).close()


def test_unfinished_files_are_removed(tmp_path):
    part = tmp_path / "deep/.B.0123456789ab.part.pxm"
    of_others = [
        part.with_name(name)
        for name in (
            ".best.0123456789ab.part.ckpt",
            ".B.0123456789ab.part.ckpt",
            ".B.notes.part.pxm",
        )
    ]
    part.parent.mkdir()
    for path in (part, *of_others):
        path.touch()
    with Manifest(tmp_path) as manifest:
        manifest.clean(["deep/B.pxm", "absent/C.pxm"])
    assert not part.exists()
    assert all(path.exists() for path in of_others)  # of a training in the same folder, say


@pytest.mark.parametrize("young", [True, False])
def test_what_counts_is_the_content_that_was_read(tmp_path, source, young):
    out, other = tmp_path / "out", tmp_path / "other.png"
    if not young:
        time.sleep(0.01)
        mock_time = time.time_ns() + 10**10
    with Manifest(out) as manifest, pytest.MonkeyPatch.context() as patch:
        if not young:
            patch.setattr("time.time_ns", lambda: mock_time)
        _, state = read_source(source)
        other.write_text("2")
        shutil.copystat(source, other)
        os.replace(other, source)  # as long and as old as the one that was read
        manifest.start("x", source, state)
        (out / "x").write_text("made")
        assert not manifest.is_done("x", source)
    source.write_text("1")
    with Manifest(out) as manifest:
        assert manifest.is_done("x", source)  # the times have changed, the content is back


@pytest.mark.parametrize(
    "line",
    [
        b"garbage \xff\xfe",
        b"[" * 100_000,
        b'{"output": ' * 100_000,
        b"[]\n1\nnull",
        b'{"output": "x"}',
        b'{"output": ["x"], "sources": {}}',
        b'{"output": "x", "sources": ["in.png"]}',
        b'{"output": "x", "output": "y", "sources": {}}',
        b'{"output": "x", "sources": {"../in.png": [1]}}',
        b'{"output": "x", "sources": {"../in.png": "state"}}',
        b"\0" * 10_000_000,
    ],
)
def test_what_is_no_entry_makes_nothing_done(tmp_path, source, line):
    out = tmp_path / "out"
    with Manifest(out) as manifest:
        make(manifest, "x", source)
        make(manifest, "y", source)
    content = (out / NAME).read_bytes()
    (out / NAME).write_bytes(line + b"\n" + content.splitlines()[-1] + b"\n")
    with Manifest(out) as manifest:
        assert not manifest.is_done("x", source)
        assert manifest.is_done("y", source)


def test_files_of_others_with_a_name_like_ours_stay(tmp_path):
    (tmp_path / "manifest.backup.jsonl").write_text("mine")
    Manifest(tmp_path).close()
    assert (tmp_path / "manifest.backup.jsonl").read_text() == "mine"


def test_a_pipe_for_a_manifest_is_refused(tmp_path):
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(ValueError, match="a named pipe"):
        Manifest(tmp_path)
    (tmp_path / NAME).unlink()
    Manifest(tmp_path).close()  # the lock was not kept


def test_a_full_disk_names_the_manifest_and_is_no_error_once_more_at_the_end(tmp_path, source):
    state, small = read_source(source)[1], (120, resource.RLIM_INFINITY)
    with Manifest(tmp_path / "out") as manifest:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, small)
            with pytest.raises(OSError, match=NAME):
                list(map(partial(manifest.start, source=source, state=state), "123456789"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
