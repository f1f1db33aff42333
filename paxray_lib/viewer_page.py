"""The LabelViewer as HTML that needs neither a kernel nor a network: a static figure that the script replaces."""

import base64
import html
import json
from collections.abc import Iterable, Mapping
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
        As many are stored as `max_bytes` allows, the first in any case.
    picture : JPEG for readers without JavaScript
    caption : text for it
    max_bytes : size that the fragment should not exceed
    """
    fields = {
        "css": css.replace("</", "<\\/"),
        "caption": html.escape(caption, quote=True),
        "picture": base64.b64encode(picture).decode(),
        # without its export the module is a plain script, and several in one page do not disturb each other
        "script": esm[: esm.rindex("export default")] + "startOffline(document);",
    }
    room = max_bytes - sum(len(text) for text in fields.values()) - len(_json(state))
    stored: list[str] = []
    for scene in scenes:
        text = _json({key: _plain(value) for key, value in scene.items()})
        room -= len(text) + 1
        if stored and room < 0:
            break
        stored.append(text)
    body = f'{{"traits":{_json(state)},"scenes":[{",".join(stored)}]}}'
    return _PAGE.format(state=body, **fields)


def _plain(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")).replace("</", "<\\/")
