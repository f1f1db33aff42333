"""Paths that are no files, and names that steer terminals or spreadsheets."""

import os
import socket

import numpy as np
from helpers.hostile import cases
from PIL import Image

PREDICT = "predict --images {here}/in --out {here}/out --weights {weights}"


def among_good(write):
    """Return what makes a folder `in` with a good image, and a hostile one by `write(folder)`."""

    def make(here):
        folder = here / "in"
        folder.mkdir()
        picture = np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)
        Image.fromarray(picture).save(folder / "good.png")
        write(folder)

    return make


def bind_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


@cases(
    (
        "a pipe among the images",
        among_good(lambda folder: os.mkfifo(folder / "x.png")),
        *(PREDICT, 1, r"x\.png: a named pipe.*1 ok, 0 skipped, 1 failed"),
    ),
    (
        "a link to an endless device",
        among_good(lambda folder: (folder / "x.jpg").symlink_to("/dev/zero")),
        *(PREDICT, 1, r"x\.jpg: a device.*1 ok, 0 skipped, 1 failed"),
    ),
    (
        "a socket",
        among_good(lambda folder: bind_socket(folder / "x.dcm")),
        *(PREDICT, 1, r"x\.dcm: a socket.*1 ok, 0 skipped, 1 failed"),
    ),
    (
        "a link to nowhere",
        among_good(lambda folder: (folder / "x.png").symlink_to("nowhere")),
        *(PREDICT, 1, r"x\.png: no such file.*1 ok, 0 skipped, 1 failed"),
    ),
    (
        "a name that clears the screen",
        among_good(lambda folder: (folder / "\x1b[2J.png").touch()),
        *(PREDICT, 1, r"\\x1b\[2J\.png.*empty.*1 failed"),
    ),
)
def test_names_and_kinds_of_files(case, hostile):
    hostile(case)
