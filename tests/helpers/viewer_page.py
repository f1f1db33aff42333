"""The LabelViewer's page in Chromium: finding its elements, reading what it shows."""

import base64
import io
import json

import numpy as np
from PIL import Image

DRAWN = "Number(document.querySelector('[data-testid=viewer]')?.dataset.drawn) > 1"
SHOWS = """name => [...document.querySelectorAll('canvas')].every(
    canvas => canvas.closest("[data-testid=stage]").ariaLabel.startsWith(name))"""

GAP = 4  # pixels between two panels that are saved

# Chromium holds back a tenth download within seconds, so the link that the button makes is read,
# not followed.
EXPORT = """async () => {
    const follow = HTMLAnchorElement.prototype.click;
    const address = await new Promise(resolve => {
        HTMLAnchorElement.prototype.click = function () { resolve(this.href); };
        document.querySelector("[data-testid=export]").click();
    });
    HTMLAnchorElement.prototype.click = follow;
    const bytes = new Uint8Array(await (await fetch(address)).arrayBuffer());
    return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(""));
}"""


def write_page(viewer, folder):
    """Write a page with a viewer and return its address."""
    page = folder / "page.html"
    html = viewer._repr_mimebundle_()[0]["text/html"]
    page.write_text(f"<!doctype html><meta charset=utf-8><body>{html}</body>", encoding="utf-8")
    return page.as_uri()


def element(page, name):
    return page.locator(f'[data-testid="{name}"]')


def checked(page, name):
    return element(page, name).get_attribute("aria-checked")


def ready(page):
    """Wait until the viewer has drawn its first image and the scores."""
    page.wait_for_function(DRAWN)


def shows(page, name):
    """Wait for an image."""
    page.wait_for_function(SHOWS, arg=name)


def copied(page):
    """Return the selection, as the page copies it."""
    element(page, "copy").click()
    return json.loads(element(page, "copied").input_value())


def exported(page):
    """Return the pixels that the PNG button saves."""
    data = base64.b64decode(page.evaluate(EXPORT))
    return above_legend(page, Image.open(io.BytesIO(data)))


def above_legend(page, picture):
    """Return the pixels of a saved picture without name and legend, which are below."""
    part = element(page, "viewer").get_attribute("data-visible")
    size = element(page, "canvas").evaluate("canvas => [canvas.height, canvas.width]")
    height, width = map(int, part.split(",")[2:]) if part else size
    assert picture.height > height
    panels = page.locator(".paxray-pane").count()
    return np.asarray(picture.convert("RGB"))[:height, : panels * (width + GAP) - GAP]


def check_pixels(viewer, page, **traits):
    """Assert that the exported image is what Python draws with these traits."""
    before = {name: getattr(viewer, name) for name in traits}
    for name, value in traits.items():
        setattr(viewer, name, value)
    expected = np.asarray(viewer.to_image())
    for name, value in before.items():
        setattr(viewer, name, value)
    np.testing.assert_array_equal(exported(page), expected)


def at(page, row, column):
    """The place of a pixel's centre on the screen."""
    canvas = element(page, "canvas")
    box, columns = canvas.bounding_box(), canvas.evaluate("canvas => canvas.width")
    scale = box["width"] / columns
    return box["x"] + (column + 0.5) * scale, box["y"] + (row + 0.5) * scale


def drag(page, *places):
    """Press, move and lift the mouse, at rows and columns."""
    page.mouse.move(*at(page, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*at(page, *place), steps=4)
    page.mouse.up()


def strokes(page):
    """The records that the page hands out."""
    if element(page, "download").is_hidden():
        return []
    with page.expect_download() as download:
        element(page, "download").click()
    return json.loads(download.value.path().read_text())
