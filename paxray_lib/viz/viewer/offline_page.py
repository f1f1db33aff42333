"""The LabelViewer as HTML that needs neither a kernel nor a network: a static figure that the
script replaces.
"""

import base64
import html
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_PAGE = """<div class="paxray-offline">
<style>{css}</style>
<figure><img alt="{caption}" src="data:image/jpeg;base64,{picture}" style="max-width:100%">
<figcaption>{caption}</figcaption></figure>
<script type="application/json">{state}</script>
<script type="module">
{script}
</script>
</div>"""


def offline_page(
    esm: str,
    css: str,
    state: Mapping[str, Any],
    scenes: Iterable[Mapping[str, Any]],
    smaller: Callable[[float], Mapping[str, Any]],
    picture: bytes,
    caption: str,
    max_bytes: int,
) -> str:
    """Return the viewer as a fragment of HTML.

    Parameters
    ----------
    esm, css : text of the widget's module and style
    state : values of its traits
    scenes : messages of images as `Scene.to_message` makes them, the one shown first
        As many are stored as `max_bytes` allows, and at least one.
    smaller : function of a part of the height and width that returns the message of the first one
    reduced to it
        Called if that does not fit.
    picture : JPEG for readers without JavaScript
    caption : text for it
    max_bytes : size that the fragment should not exceed
    """
    fields = {
        "css": css.replace("</", "<\\/"),
        "caption": html.escape(caption, quote=True),
        "picture": base64.b64encode(picture).decode(),
        # without its export the module is a plain script, and several in one page do not disturb
        # each other
        "script": esm[: esm.rindex("export default")] + "startOffline(document);",
    }
    room = max_bytes - sum(len(text) for text in fields.values()) - len(_json(state))
    body = f'{{"traits":{_json(state)},"scenes":[{",".join(_fitting(scenes, smaller, room))}]}}'
    return _PAGE.format(state=body, **fields)


def _fitting(scenes: Iterable[Mapping[str, Any]], smaller: Callable, room: int) -> list[str]:
    """Return the scenes that fit into `room` characters as JSON, the first one reduced if need
    be.
    """
    texts = map(_scene_text, scenes)
    first = next(texts)
    if len(first) > room:
        # the bytes grow a little slower than the pixels: a tenth less makes up for it
        first = _scene_text(smaller(0.9 * math.sqrt(max(room, 1) / len(first))))
    stored = [first]
    for text in texts:
        if sum(map(len, [*stored, text])) + len(stored) > room:
            break
        stored.append(text)
    return stored


def _scene_text(scene: Mapping[str, Any]) -> str:
    plain = {
        key: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for key, value in scene.items()
    }
    return _json(plain)


def _json(value: Any) -> str:
    # no text may end or open a script
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
