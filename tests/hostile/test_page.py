"""Films, masks and names that should not become a page."""

import numpy as np
from helpers.hostile import cases
from PIL import Image

from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks

PAGE = "export page --images {here}/films --masks {here}/masks --out {here}/page.html"


def pair(here, name="x", size=(40, 50)):
    """Make a film, and masks of the given size."""
    for folder in ("films", "masks"):
        (here / folder).mkdir(exist_ok=True)
    Image.fromarray(np.arange(2000).reshape(40, 50).astype(np.uint8)).save(
        here / f"films/{name}.png"
    )
    PackedMasks.pack(np.zeros((166, *size), bool), LABELS).write(here / f"masks/{name}.pxm")


def damaged(folder):
    """Return what makes two films with masks, one of which is damaged in that folder."""

    def make(here):
        pair(here)
        pair(here, "y")
        path = here / ("films/y.png" if folder == "films" else "masks/y.pxm")
        path.write_bytes(path.read_bytes()[:60])

    return make


@cases(
    ("no films", lambda here: (here / "films").mkdir(), PAGE, 2, "films: no .* image in or below"),
    ("no folder of films", lambda _: None, PAGE, 2, "films: no such file or folder"),
    (
        "no folder of masks",
        lambda here: (pair(here), (here / "masks").rename(here / "others")),
        *(PAGE, 2, "masks: no such folder of predictions"),
    ),
    (
        "masks of other films",
        lambda here: (pair(here), (here / "masks/x.pxm").rename(here / "masks/z.pxm")),
        *(PAGE, 2, "masks: no mask file there bears the name of an image"),
    ),
    ("a damaged film", damaged("films"), PAGE, 1, r"failed: .*y\.png.*1 film, .* 1 failed"),
    ("damaged masks", damaged("masks"), PAGE, 1, r"failed: .*y\.pxm.*1 film, .* 1 failed"),
    (
        "masks of another size",
        lambda here: (pair(here), pair(here, "y", (30, 20))),
        *(PAGE, 1, r"failed: .*1 film, .* 1 failed"),
    ),
    ("an unknown label", pair, PAGE + " --labels hart", 2, "hart.*did you mean 'heart'"),
    ("a name of another kind", pair, PAGE + ".pdf", 2, "page.html.pdf: a page is written under"),
    ("films of no size", pair, PAGE + " --size 3", 2, "size"),
    (
        "a page that is a folder",
        lambda here: (pair(here), (here / "page.html").mkdir()),
        *(PAGE, 2, "page.html: a folder, but a file is needed"),
    ),
    (
        "a name that is markup",
        lambda here: pair(here, "<img src=x onerror=alert(1)>"),
        *(PAGE, 0, "1 film"),
    ),
    ("a name of two lines", lambda here: pair(here, "a\nb"), PAGE, 0, "1 film"),
)
def test_export_page(case, hostile):
    hostile(case)
