import os

import pytest

from paxray_lib.utils.manifest import NAME, Manifest, read_manifest


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.png"
    path.write_text("1")
    return path


def make(manifest, output, sources):
    manifest.start(output, sources)
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
        manifest.start("x", source)
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
    part.parent.mkdir()
    part.touch()
    with Manifest(tmp_path) as manifest:
        manifest.clean(["deep/B.pxm", "absent/C.pxm"])
    assert not part.exists()
