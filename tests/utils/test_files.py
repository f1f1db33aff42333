import hashlib
import os

import pytest

from paxray_lib.utils.files import atomic_write, read_json, sha256, write_text


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


def test_text_json_and_digests(tmp_path):
    path = tmp_path / "new/x.json"
    assert read_json(path) == {}
    write_text(path, '{"a": 1}')
    assert read_json(path) == {"a": 1}
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    write_text(path, os.fsdecode(b"a name with \xff.png"))
    assert path.read_text() == "a name with \\udcff.png"
