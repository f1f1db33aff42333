import io
import itertools
import threading

import pytest

from paxray_lib.utils import console as module
from paxray_lib.utils.console import Pace, map_ahead, progress, say


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
    monkeypatch.setattr("sys.stderr", err := io.StringIO())
    monkeypatch.setattr(module, "time", _Clock())
    assert list(progress(iter("abcd"), "reading", total, every_s=15)) == list("abcd")
    assert err.getvalue().splitlines() == lines


def test_progress_shows_a_bar_in_a_terminal(monkeypatch):
    err = io.StringIO()
    err.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", err)
    assert list(progress([1, 2], "packing")) == [1, 2]
    assert "packing" in err.getvalue()
    assert "2/2" in err.getvalue()


def test_map_ahead_keeps_the_order_and_starts_few_items_early():
    begun = []
    results = map_ahead(lambda item: begun.append(item) or item * 2, range(100), ahead=3)
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert max(begun) <= 5 + 3
    assert list(results) == [2 * item for item in range(5, 100)]


def test_map_ahead_raises_where_the_item_would_be_yielded():
    results = map_ahead(lambda item: 1 / item, [2, 0, 1])
    assert next(results) == 0.5
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_ahead_hands_on_whatever_is_raised_and_goes_on():
    def stop(item):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(map_ahead(stop, [1]))


@pytest.mark.parametrize("patience_s", [0.05, None])
def test_an_early_end_waits_for_what_has_begun_if_it_may_write(patience_s):
    go_on, ended = threading.Event(), []

    def work(item):
        if item:
            go_on.wait()
        ended.append(item)

    results = map_ahead(work, range(10), threads=1, patience_s=patience_s)
    next(results)
    timer = threading.Timer(0.3 if patience_s is None else 30, go_on.set)
    timer.start()
    try:
        results.close()
        assert ended == ([0, 1] if patience_s is None else [0])  # what had not begun never does
    finally:
        timer.cancel()
        go_on.set()


def test_what_is_said_steers_no_terminal_and_fits_its_encoding(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, "latin-1", write_through=True))
    say("\x1b[2J\r\tü\n€ \udcff\x9b")
    assert raw.getvalue() == b"\\x1b[2J\\r\t\xfc\n\\u20ac \\udcff\\x9b\n"


def test_what_grows_is_written_seldom(monkeypatch):
    clock, taken = [100.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])

    def write():
        taken.append(clock[0])
        clock[0] += 0.1 * len(taken)  # longer each time

    pace = Pace()
    while clock[0] < 200:
        pace.call(write)
        clock[0] += 0.5
    gaps = [after - before for before, after in itertools.pairwise(taken)]
    assert gaps[0] == pytest.approx(5.5, abs=0.5)
    assert max(gaps) > 10
    assert 0.1 * sum(range(1, len(taken) + 1)) <= 0.05 * (200 - 100) + 2
    late = Pace(wait_s=5)
    late.call(lambda: pytest.fail("too early"))
