import errno
import hashlib
import json
import os

import pytest

from paxray_lib.utils.errors import is_disk_full
from paxray_lib.utils.files import (
    atomic_write,
    inside,
    open_file,
    parse_json,
    read_bytes,
    read_json,
    sha256,
    write_text,
)


def test_atomic_write_makes_the_folder_and_keeps_the_suffix(tmp_path):
    target = tmp_path / "new" / "x.json"
    with atomic_write(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".json"
        temporary.write_text("1")
        assert not target.exists()
    assert target.read_text() == "1"
    assert list(target.parent.iterdir()) == [target]


def test_atomic_write_leaves_the_old_file_on_error(tmp_path):
    target = tmp_path / "x.txt"
    target.write_text("old")

    def fail():
        with atomic_write(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_named_by_the_file_that_it_kept_from_being_written(tmp_path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as of `write`: without a name
    with (
        pytest.raises(OSError, match=r"No space left on device: '.*/x\.txt'"),
        atomic_write(tmp_path / "x.txt"),
    ):
        raise full
    assert is_disk_full(full)
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match=r"^encoder error$"), atomic_write(tmp_path / "x.txt"):
        raise OSError("encoder error")


def test_atomic_write_replaces_files_alone(tmp_path):
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "full.png").symlink_to("/dev/full")
    (tmp_path / "nowhere.png").symlink_to("nothing")
    for name, kind in {"folder": "a folder", "pipe": "a named pipe", "full": "a device"}.items():
        with (
            pytest.raises(ValueError, match=f"{name}.png: {kind}"),
            atomic_write(tmp_path / f"{name}.png"),
        ):
            pass
    with atomic_write(tmp_path / "nowhere.png") as temporary:
        temporary.touch()
    assert len(list(tmp_path.iterdir())) == 4


def test_text_json_and_digests(tmp_path):
    path = tmp_path / "new/x.json"
    assert read_json(path) == {}
    write_text(path, '{"a": 1}')
    assert read_json(path) == {"a": 1}
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    write_text(path, os.fsdecode(b"a name with \xff.png"))
    assert path.read_text() == "a name with \\udcff.png"


def test_only_regular_files_are_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    assert read_bytes(tmp_path / "link") == b"x"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, kind in {"pipe": "named pipe", "zero": "device", ".": "folder"}.items():
        with pytest.raises(ValueError, match=f"a {kind}, but a file is needed"):
            open_file(tmp_path / name)
    for name in ("nowhere", "file/x"):
        with pytest.raises(FileNotFoundError, match=f"{name}: no such file"):
            open_file(tmp_path / name)
    with pytest.raises(ValueError, match="null"):
        open_file("a\0b")


def test_what_is_read_in_one_piece_has_a_limit(tmp_path):
    (tmp_path / "x").write_bytes(bytes(10))
    assert read_bytes(tmp_path / "x", limit=10) == bytes(10)
    with pytest.raises(ValueError, match="x: more than"):
        read_bytes(tmp_path / "x", limit=9)
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="empty: the file is empty"):
        read_bytes(tmp_path / "empty")


def test_paths_stay_inside_their_folder(tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "in").symlink_to("sub")
    (root / "out").symlink_to(tmp_path)
    (root / "loop").symlink_to("loop")
    (tmp_path / "alias").symlink_to(root)
    for good in ("a.npy", "sub/a.npy", "in/a.npy", "new/a..npy"):
        assert inside(root, good) == root / good
        assert inside(tmp_path / "alias", good) == tmp_path / "alias" / good
    for bad in ("../a.npy", "sub/../../root/a.npy", str(tmp_path / "a.npy"), "out/a.npy"):
        with pytest.raises(ValueError, match="leads outside"):
            inside(root, bad)
    for none in ("a\0b", "\ud800"):
        with pytest.raises(ValueError, match=r"root.*no path of a file"):
            inside(root, none)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' stands twice"),
        ("{" + "".join(f'"{i}": 0, ' for i in range(10**5)) + '"last": 0, "last": 0}', "'last'"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        ("9" * 5000, "limit"),
        (b'{"\xff": 1}', "utf-8"),
        ("{", "Expecting"),
        (json.dumps({str(i): i for i in range(10**5)})[:-1] + ', "99999": 0}', "'99999' stands"),
    ],
)
def test_json_is_parsed_strictly(text, problem):
    with pytest.raises(ValueError, match=f"^x: not a JSON file.*{problem}"):
        parse_json(text, "x")


@pytest.mark.parametrize("text", ["[" + "{}," * (1 << 23), b"[" * ((1 << 23) + 1)])
def test_json_of_too_many_values_is_refused_before_memory_goes(text):
    with pytest.raises(ValueError, match="x: more than 8388608 values"):
        parse_json(text, "x")


def test_json_of_another_kind_is_no_object(tmp_path):
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"x\.json: not a JSON object but a list"):
        read_json(tmp_path / "x.json")


def test_a_name_of_any_length_that_the_system_takes_is_written(tmp_path):
    for name in ("n" * 251 + ".pxm", "ü" * 125 + ".json", "x." + "y" * 253):
        with atomic_write(tmp_path / name) as temporary:
            temporary.write_text("1")
        assert (tmp_path / name).read_text() == "1"
