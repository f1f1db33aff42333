"""The page of `paxray export page` in Chromium, from disk: films to go through, no network."""

import numpy as np
import pytest
from helpers.viewer_page import copied, element, exported, ready, shows
from PIL import Image

from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.sharing.page import export_page
from paxray_lib.viz import overlay

pytestmark = pytest.mark.browser
NAMES = ["a", "b", "<script>document.title = 'gone'<"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three films with masks, and their page."""
    folder = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(0)
    for name in ("films", "masks"):
        (folder / name).mkdir()
    for name in NAMES:
        Image.fromarray(rng.integers(0, 255, (90, 70), np.uint8)).save(folder / f"films/{name}.png")
        stack = np.zeros((166, 90, 70), bool)
        for label in LABELS.select("heart", "lung_left", "aorta"):
            top, left = rng.integers(5, 40, 2)
            stack[label, top : top + 30, left : left + 25] = True
        PackedMasks.pack(stack, LABELS).write(folder / f"masks/{name}.pxm")
    export_page(folder / "films", folder / "page.html", masks=folder / "masks")
    return folder


def test_films_are_gone_through_and_drawn_as_in_python(folder, open_page):
    # the page forbids the evaluation of texts, by which playwright waits for conditions
    page = open_page(viewport={"width": 1366, "height": 768}, bypass_csp=True)
    page.goto((folder / "page.html").as_uri())
    ready(page)
    assert set(copied(page)) == {"heart", "lung_left"}
    for name in sorted(NAMES):
        shows(page, name)
        pixels = np.asarray(Image.open(folder / f"films/{name}.png"))
        masks = PackedMasks.read(folder / f"masks/{name}.pxm")
        indices = LABELS.select("heart", "lung_left")
        expected = overlay.render(
            pixels, masks, indices, alpha=overlay.ALPHA, outline=1, dashed=False, window=[0, 255]
        )
        assert np.array_equal(exported(page), expected)
        if name != sorted(NAMES)[-1]:
            element(page, "next").click()
    assert page.title() == "films: 3 films"
    assert element(page, "next").is_disabled()


def test_keys_work_without_a_click(folder, open_page):
    page = open_page()
    page.goto((folder / "page.html").as_uri())
    shows(page, sorted(NAMES)[0])
    page.keyboard.press("n")
    shows(page, sorted(NAMES)[1])


def test_it_fits_a_laptop_and_asks_for_nothing(folder, open_page):
    page, asked = open_page(viewport={"width": 1366, "height": 768}), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((folder / "page.html").as_uri())
    page.locator('[data-testid="viewer"]:not([data-drawn="0"])').wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = element(page, "viewer").bounding_box()
    assert box["y"] + box["height"] <= 768
    assert len(asked) == 1
