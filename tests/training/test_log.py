import io
import sys
import time

import torch
from helpers.sampledata import small_training
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from paxray_lib.training import log
from paxray_lib.training.batches import StepPlan
from paxray_lib.training.config import TrainConfig
from paxray_lib.training.log import TrainLog

PLAN = StepPlan(length=8, seed=0, batch_size=3)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def make(tiny, folder, first=True):
    return TrainLog(TrainConfig(**small_training(tiny, folder)), PLAN, first)


def row(epoch=1, loss=0.5, score=None, seconds=2.0):
    return {"epoch": epoch, "train_loss": loss, "val_iou_present": score, "seconds": seconds}


def test_progress_is_a_line_now_and_then(tiny, tmp_path, monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: now[0])
    told = make(tiny, tmp_path)
    assert list(told.progress(iter("abc"), 0, 0)) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", ""), "a short epoch needs none"
    told.open(done=0)
    told.epoch([row(score=0.25)], torch.device("cpu"))
    assert "epoch 1/2: loss 0.5000, validation IoU 0.250 (present), 4.0 images/s, 2.0 s left; " in (
        capsys.readouterr().out
    )
    for _ in told.progress(iter("bc"), 1, 1):
        told.step(5, 0.75)
        now[0] += 12
    told.close()
    # 3 images in 12 s after the 3 of the step that was taken before; 2 left in the last epoch
    assert capsys.readouterr().out == (
        "epoch 2/2: step 2/3, loss 0.7500, validation IoU 0.250 (present), 0.2 images/s, "
        "8.0 s left\n"
    )


def test_progress_is_a_bar_in_a_terminal(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    told = make(tiny, tmp_path)
    for _ in told.progress(iter("bc"), 1, 1):
        told.step(5, 0.75)
        time.sleep(0.11)  # tqdm draws ten times a second
    assert "epoch 2/2" in sys.stderr.getvalue()
    assert "3/3" in sys.stderr.getvalue()
    assert "loss 0.7500" in sys.stderr.getvalue()


def test_other_processes_are_quiet_and_write_nothing(tiny, tmp_path, capsys):
    told = make(tiny, tmp_path / "run", first=False)
    told.open(done=0)
    told.say("hello")
    told.step(20, 1.0)
    told.epoch([row()], torch.device("cpu"))
    told.write_metrics([row()])
    told.flush()
    assert list(told.progress(iter("abc"), 0, 0)) == ["a", "b", "c"]
    told.close()
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr() == ("", "")


def test_a_resumed_run_drops_an_epoch_that_it_will_log_again(tiny, tmp_path):
    # killed between the third step's log and its checkpoint
    for done, loss in ((0, 0.5), (2, 0.7)):
        told = make(tiny, tmp_path)
        told.open(done)
        told.epoch([row(loss=loss)], torch.device("cpu"))
        told.close()
    logs = EventAccumulator(str(tmp_path / "logs")).Reload()
    events = logs.Scalars("epoch/train_loss")
    assert [(event.step, round(event.value, 3)) for event in events] == [(3, 0.7)]
