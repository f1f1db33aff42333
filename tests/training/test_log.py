import io
import sys

from helpers.sampledata import small_training
from paxray_lib.training.schedule import Plan
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from paxray_lib.training import log
from paxray_lib.training.config import TrainConfig
from paxray_lib.training.log import TrainLog

PLAN = Plan(length=8, seed=0, batch_size=3)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def make(tiny, folder, first=True, done=0):
    return TrainLog(TrainConfig(**small_training(tiny, folder)), PLAN, done, first)


def test_progress_is_a_line_now_and_then(tiny, tmp_path, monkeypatch, capsys):
    log = make(tiny, tmp_path)
    assert list(log.progress(iter("abc"), 0, 0)) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", ""), "a short epoch needs none"
    monkeypatch.setattr(log, "LINE_EVERY_S", 0)
    clock = iter(range(0, 100, 3))
    monkeypatch.setattr(log.time, "monotonic", lambda: next(clock))
    assert list(log.progress(iter("bc"), 1, 1)) == ["b", "c"]
    # 3 images in 3 s after the 3 of the step that was taken before; 2 left in the last epoch
    assert capsys.readouterr().out == "epoch 2/2: 6/8 images, 1.0 images/s, 2 s left\n"


def test_progress_is_a_bar_in_a_terminal(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(make(tiny, tmp_path).progress(iter("bc"), 1, 1)) == ["b", "c"]
    assert "epoch 2/2" in sys.stderr.getvalue()
    assert "/8" in sys.stderr.getvalue()


def test_other_processes_are_quiet_and_write_nothing(tiny, tmp_path, capsys):
    with make(tiny, tmp_path / "run", first=False) as log:
        log.say("hello")
        log.step(20, 1.0)
        log.epoch({"epoch": 1}, 1.0)
        log.write_metrics([{"epoch": 1}])
        log.flush()
        assert list(log.progress(iter("abc"), 0, 0)) == ["a", "b", "c"]
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr() == ("", "")


def test_a_resumed_run_drops_an_epoch_that_it_will_log_again(tiny, tmp_path):
    row = {"epoch": 1, "train_loss": 0.5, "val_iou_present": None, "seconds": 1.0}
    # killed between the third step's log and its checkpoint
    for done, loss in ((0, 0.5), (2, 0.7)):
        with make(tiny, tmp_path, done=done) as log:
            log.epoch({**row, "train_loss": loss}, 1.0)
    logs = EventAccumulator(str(tmp_path / "logs")).Reload()
    assert [(event.step, round(event.value, 3)) for event in logs.Scalars("epoch/train_loss")] == [
        (3, 0.7)
    ]


def test_long_times_are_hours_and_minutes():
    assert [log._duration(seconds) for seconds in (0.4, 99, 3725)] == ["0 s", "99 s", "1:02:05"]
