"""The journal of strokes: what was acknowledged is there, whatever happens after."""

import errno
import json
import os
import signal
import subprocess
import sys
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paxray_lib.review.journal import JOURNAL, Journal


def stroke(name, image="a", **more):
    return {"id": name, "image": image, "label": 3, "points": [[8, 8], [9, 120]], **more}


def ids(journal, image="a"):
    return [record["id"] for record in journal.records(image)]


def test_records_come_back_in_order_by_image_once(tmp_path):
    journal = Journal(tmp_path / "new")
    for name, image in (("1", "a"), ("2", "ü"), ("3", "a"), ("1", "a"), ("2", "ü")):
        journal.append(stroke(name, image, note="é"))
    for one in (journal, Journal(tmp_path / "new")):
        assert one.records("a") == [stroke(name, note="é") for name in ("1", "3")]
        assert ids(one, "ü") == ["2"]
        assert one.records("nothing") == []
    assert (tmp_path / "new" / JOURNAL).read_bytes().count(b"\n") == 3


def test_what_was_saved_is_not_replayed_nor_written_again(tmp_path):
    journal = Journal(tmp_path)
    journal.append(stroke("1"))
    journal.append(stroke("2", "b"))
    journal.saved("a")
    journal.saved("a")
    journal.append(stroke("1"))  # sent again
    journal.append(stroke("3"))
    again = Journal(tmp_path)
    assert ids(again) == ["3"]
    assert ids(again, "b") == ["2"]
    again.saved("b")
    again.saved("a")
    assert ids(Journal(tmp_path)) == ids(Journal(tmp_path), "b") == []


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_line_that_was_cut_off_is_dropped(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("j")
    journal = Journal(folder)
    for name in "12":
        journal.append(stroke(name))
    journal.saved("a")
    for name in "345":
        journal.append(stroke(name))
    content = (folder / JOURNAL).read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    (folder / JOURNAL).write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    expected = ["", "1", "12", "", "3", "34", "345"][whole]
    again = Journal(folder)
    assert ids(again) == list(expected)
    again.append(stroke("9"))
    assert ids(Journal(folder)) == [*expected, "9"]
    lines = (folder / JOURNAL).read_bytes().splitlines()
    assert len(lines) == whole + 1
    assert all(json.loads(line) for line in lines)


WRITER = """
import sys, time
from paxray_lib.review.journal import Journal
journal = Journal(sys.argv[1])
for number in range(100000):
    image = sys.argv[2]
    journal.append({"id": f"{image}{number}", "image": image, "points": [[1, 2]] * 2000})
    print(number, flush=True)
    time.sleep(0.01)  # the other one has its turn
"""


def test_killed_processes_lose_nothing_that_was_acknowledged(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = {
        image: subprocess.Popen([*command, image], stdout=subprocess.PIPE, text=True)
        for image in "ab"
    }
    first = {image: [w.stdout.readline() for _ in range(12)] for image, w in writers.items()}
    for image, writer in writers.items():
        writer.send_signal(signal.SIGKILL)
        # on a busy machine one may have waited too long for the other, and have ended by itself
        last = int([*filter(None, first[image]), *writer.communicate()[0].splitlines()][-1])
        found = ids(Journal(tmp_path), image)
        assert found[: last + 1] == [f"{image}{number}" for number in range(last + 1)]
        assert len(found) <= last + 2


def test_two_people_on_one_image_are_told(tmp_path):
    ada, bo = Journal(tmp_path), Journal(tmp_path)
    ada.append(stroke("1"))
    bo.append(stroke("2", "b"))
    with pytest.raises(ValueError, match="someone else changed 'a' meanwhile; load"):
        bo.append(stroke("3"))
    assert ids(bo) == ["1"]  # takes it over
    bo.append(stroke("3"))
    with pytest.raises(ValueError, match="someone else changed 'a'"):
        ada.append(stroke("4"))
    ada.append(stroke("5", "c"))
    ada.saved("a")  # what it knows
    assert ids(Journal(tmp_path)) == ["3"]
    with pytest.raises(ValueError, match="someone else changed 'a'"):
        bo.saved("a")


def test_a_stroke_that_someone_else_sent_again_is_not_taken_over_unseen(tmp_path):
    ada, bo = Journal(tmp_path), Journal(tmp_path)
    ada.append(stroke("1"))
    ada.append(stroke("2"))
    with pytest.raises(ValueError, match="someone else changed 'a'"):
        bo.append(stroke("2"))
    bo.saved("a")
    assert ids(Journal(tmp_path)) == ["1", "2"]  # in no masks of his
    assert ids(bo) == ["1", "2"]
    assert bo.append(stroke("2"))
    bo.saved("a", "1")
    assert ids(Journal(tmp_path)) == ids(bo) == ["2"]
    assert not bo.append(stroke("1"))


def test_a_disk_that_is_full_acknowledges_nothing(tmp_path):
    journal = Journal(tmp_path)
    journal.append(stroke("1"))
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with (
        mock.patch("paxray_lib.review.journal.os.fsync", side_effect=error),
        pytest.raises(OSError, match="No space left") as caught,
    ):
        journal.append(stroke("2"))
    assert caught.value.filename == str(tmp_path / JOURNAL)
    journal.append(stroke("2"))
    journal.append(stroke("3"))
    assert ids(Journal(tmp_path)) == ["1", "2", "3"]


def test_a_journal_that_was_moved_away_begins_anew(tmp_path):
    journal = Journal(tmp_path)
    journal.append(stroke("1"))
    (tmp_path / JOURNAL).unlink()
    assert ids(journal) == []
    journal.append(stroke("1"))
    assert ids(Journal(tmp_path)) == ["1"]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"image": "a"}, "no text"),
        ({"id": 3, "image": "a"}, "no text"),
        (stroke("1", value=float("nan")), "not JSON compliant"),
        (stroke("1", text="x" * (1 << 24)), "send it in parts"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path, record, words):
    journal = Journal(tmp_path)
    with pytest.raises(ValueError, match=words):
        journal.append(record)
    assert (tmp_path / JOURNAL).read_bytes() == b""


@pytest.mark.parametrize(
    "line",
    [
        *(b"{", b"[1]", b"3", b"{}", b'{"id": 1, "image": "a"}', b"\xff", b"[" * 100_000, b"\0\0"),
        *(b'{"saved": "a", "count": -1}', b'{"id": "1", "id": "2", "image": "a"}'),
    ],
)
def test_a_damaged_line_is_named_and_the_file_stays(tmp_path, line):
    journal = Journal(tmp_path)
    journal.append(stroke("1"))
    content = (tmp_path / JOURNAL).read_bytes() + line + b"\n"
    (tmp_path / JOURNAL).write_bytes(content)
    for act in (lambda: Journal(tmp_path), lambda: journal.append(stroke("2"))):
        with pytest.raises(ValueError, match=r"journal\.jsonl: line 2, .*move the file away"):
            act()
    assert (tmp_path / JOURNAL).read_bytes() == content


def test_a_link_that_leads_away_and_a_pipe(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / JOURNAL).symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match="leads outside"):
        Journal(tmp_path / "a")
    (tmp_path / "b").mkdir()
    os.mkfifo(tmp_path / "b" / JOURNAL)
    with pytest.raises(ValueError, match="a named pipe"):
        Journal(tmp_path / "b")
