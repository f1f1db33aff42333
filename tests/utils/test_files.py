import io

import pytest

from paxray_lib.utils import files
from paxray_lib.utils.errors import did_you_mean
from paxray_lib.utils.files import atomic_write
from paxray_lib.utils.progress import progress


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


@pytest.mark.parametrize(
    ("word", "tail"),
    [
        ("hart", "; did you mean 'heart'?"),
        ("heart_", "; did you mean 'heart'?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_did_you_mean(word, tail):
    assert did_you_mean(word, ["heart", "aorta", "heart"]) == tail


def test_did_you_mean_lists_the_nearest_first():
    assert did_you_mean("rib_left_1", ["rib_left_2", "rib_left_12"]).startswith(
        "; did you mean 'rib_left_12' or"
    )


class _Clock:
    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 10
        return self.now


@pytest.mark.parametrize(
    ("total", "lines"),
    [
        (4, ["reading: 2/4 in 20 s, 20 s left"]),
        (None, ["reading: 2 in 20 s", "reading: 4 in 40 s"]),
    ],
)
def test_progress_writes_sparse_lines_without_a_terminal(monkeypatch, total, lines):
    monkeypatch.setattr(files.sys, "stderr", err := io.StringIO())
    monkeypatch.setattr(files, "time", _Clock())
    assert list(progress(iter("abcd"), "reading", total, every_s=15)) == list("abcd")
    assert err.getvalue().splitlines() == lines


def test_progress_shows_a_bar_in_a_terminal(monkeypatch):
    err = io.StringIO()
    err.isatty = lambda: True
    monkeypatch.setattr(files.sys, "stderr", err)
    assert list(progress([1, 2], "packing")) == [1, 2]
    assert "packing" in err.getvalue()
    assert "2/2" in err.getvalue()
