"""Decoders in processes of their own: what ends them ends nothing else."""

import os
import signal
import threading

import numpy as np
import pydicom
import pytest
from helpers.xrays import transcode, write_xray
from pydicom.encaps import encapsulate, get_frame

from paxray_lib.images import apart
from paxray_lib.images.apart import decode_apart


def lossless(tmp_path):
    """Return an X-ray of lossless JPEG with 12 bits, and its compressed frame."""
    path = write_xray(tmp_path / "plain.dcm", (30, 40))
    dataset = pydicom.dcmread(transcode(path, tmp_path / "x.dcm", "JPEGLosslessProcess14_1"))
    return dataset, get_frame(dataset.PixelData, 0, number_of_frames=1)


def with_frame(dataset, frame):
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    return dataset


@pytest.fixture(autouse=True)
def no_idle_decoders():
    """Each test starts decoders of its own."""
    for process in apart._idle:
        apart._end(process)
    apart._idle.clear()


def test_pixels_are_those_of_pydicom(tmp_path):
    dataset, _ = lossless(tmp_path)
    pixels, printed = decode_apart(dataset)
    np.testing.assert_array_equal(pixels, dataset.pixel_array)
    assert pixels.dtype == np.uint16
    assert not printed


def test_one_process_answers_again_and_threads_have_one_each(tmp_path):
    dataset, _ = lossless(tmp_path)
    decode_apart(dataset)
    (first,) = apart._idle
    decode_apart(dataset)
    assert apart._idle == [first]
    threads = [threading.Thread(target=decode_apart, args=(dataset,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert first in apart._idle
    assert len(apart._idle) <= 3


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        (b"\xff\xda", b"abc\xff\xda", "SIGABRT"),
        (b"\xff\xc3\0\x0b\x10", b"\xff\xc3\0\x0b\xff", "SIGSEGV"),
    ],
)
def test_damage_is_an_error_and_the_next_image_is_read(tmp_path, old, new, name):
    dataset, frame = lossless(tmp_path)
    sound = dataset.pixel_array
    damaged = frame.replace(old, new, 1)
    assert damaged != frame
    with pytest.raises(ValueError, match=name):
        decode_apart(with_frame(dataset, damaged))
    np.testing.assert_array_equal(decode_apart(with_frame(dataset, frame))[0], sound)


def test_what_the_decoder_prints_is_told(tmp_path):
    dataset, frame = lossless(tmp_path)
    start = frame.index(b"\xff\xda")
    _, printed = decode_apart(with_frame(dataset, frame[: start + 20] + b"\xff\xd9"))
    assert any("Corrupt JPEG data" in line for line in printed)
    assert not decode_apart(with_frame(dataset, frame))[1], "of the image before"


def test_a_decoder_that_takes_too_long_is_stopped(tmp_path, monkeypatch):
    dataset, _ = lossless(tmp_path)
    decode_apart(dataset)
    os.kill(apart._idle[0].pid, signal.SIGSTOP)
    monkeypatch.setattr(apart, "_MOST_SECONDS", 0.2)
    with pytest.raises(ValueError, match="SIGKILL"):
        decode_apart(dataset)
    assert not apart._idle
