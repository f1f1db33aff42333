"""The LabelViewer as HTML that needs neither a kernel nor a network.

It begins as a static figure, which the page's script replaces.
"""

import base64
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image

from paxray_lib.viewer.assets import CSS, MODULE

_TEMPLATE = jinja2.Template(
    Path(__file__).with_suffix(".html").read_text(encoding="utf-8"), autoescape=True
)


def offline_page(
    *,
    traits: Mapping[str, Any],
    messages: Iterable[Mapping[str, Any]],
    smaller: Callable[[float], Mapping[str, Any]],
    figure: Image.Image,
    caption: str,
    max_bytes: int,
) -> str:
    """Return the viewer as a fragment of HTML.

    Parameters
    ----------
    traits : the values of the widget's traits
    messages : images as `Scene.to_message` makes them, the one shown first
        As many are stored as `max_bytes` allows, and at least one.
    smaller : function of a part of height and width
        Returns the message of the first image reduced to it; called if that does not fit.
    figure, caption : image and text for readers without JavaScript
    """
    fields = _fields(figure, caption)
    room = max_bytes - sum(map(len, fields.values())) - len(as_text(traits))
    texts = map(as_text, messages)
    scenes = next(texts)
    if len(scenes) > room:
        # the bytes grow a little slower than the pixels: a tenth less makes up for it
        scenes = as_text(smaller(0.9 * math.sqrt(max(room, 1) / len(scenes))))
    for text in texts:
        if len(scenes) + 1 + len(text) > room:
            break
        scenes += f",{text}"
    return _fragment(traits, scenes, fields)


def page_of_all(
    traits: Mapping[str, Any], scenes: Iterable[str], figure: Image.Image, caption: str
) -> str:
    """Return the viewer of all images as a fragment of HTML, whatever its size.

    `scenes` are messages as `as_text` makes them, the one shown first at the front; otherwise as
    `offline_page`.
    """
    return _fragment(traits, ",".join(scenes), _fields(figure, caption))


def _fields(figure: Image.Image, caption: str) -> dict[str, str]:
    """Return what a fragment holds besides its state."""
    jpeg = io.BytesIO()
    figure.thumbnail((700, 700))
    figure.save(jpeg, "JPEG", quality=70)
    # without its export the module is a plain script, and several in one page do not disturb each
    # other
    script = MODULE[: MODULE.rindex("export default")] + "startOffline(document);"
    return {
        "css": Markup(CSS.replace("</", "<\\/")),
        "caption": caption,
        "figure": base64.b64encode(jpeg.getvalue()).decode(),
        "script": Markup(script),
    }


def _fragment(traits: Mapping[str, Any], scenes: str, fields: Mapping[str, str]) -> str:
    state = Markup(f'{{"traits":{as_text(traits)},"scenes":[{scenes}]}}')
    return _TEMPLATE.render(state=state, **fields)


def as_text(value: Any) -> str:
    """Return compact JSON that cannot end or open a script; bytes become base64."""
    text = json.dumps(
        value, separators=(",", ":"), default=lambda data: base64.b64encode(data).decode()
    )
    return text.replace("<", "\\u003c")
