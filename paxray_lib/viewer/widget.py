"""LabelViewer: any of the labels over any image, drawn in the browser.

It answers while the kernel is busy. In JupyterLab, Notebook 7 and other front ends with ipywidgets
it is an anywidget. Each display also carries a `text/html` form that needs neither a kernel nor a
network: in an HTML export it is the same viewer over the images stored in it. VS Code loads the
JavaScript of third-party widgets after asking (`jupyter.widgetScriptSources`), Colab needs its
custom widget manager, which anywidget enables by itself; neither was tried.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import pandas as pd
import traitlets
from PIL import Image as PilImage

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels import LabelSet
from paxray_lib.utils.errors import check_choice, did_you_mean
from paxray_lib.viewer import sources
from paxray_lib.viewer.offline_page import offline_page
from paxray_lib.viewer.ranking import rank
from paxray_lib.viz import overlay
from paxray_lib.viz.compose import label_entries, legend_page, side_by_side

_SCRIPTS = "masks blending page tree camera drawing viewer offline"  # joined into one module
_STYLE = ("mode", "alpha", "outline", "dashed", "window")
_PAGE_BYTES = 380_000  # what a display adds to a page


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


class LabelViewer(anywidget.AnyWidget):
    """Interactive viewer of labels over an image; see the package for its controls.

    Parameters
    ----------
    image : path, PIL image, or (H, W) or (H, W, 3) array
        With a known pixel spacing areas are in square centimeters. For several see `browse`.
    masks, prediction : PackedMasks, path, or (L, H, W) array; at least one of them
    labels : LabelSet of masks that do not carry it; the 166 published ones by default
    selected : names, groups and patterns; lungs and heart, if present, by default
    **style : initial values of the traits `mode`, `alpha`, `outline`, `dashed` and `window`

    Attributes
    ----------
    selected : the chosen names; may be set to names, groups, patterns
        An exact name stands for itself.
    mode, alpha, outline, dashed, window : as for `overlay.compare`
    position : the image shown, where there are several
    view_filter : {"", "frontal", "lateral"}
    sort_by : column of scores that orders the images, lowest first; "" for their own order
        `iou_present` and `rules_kept` (see `ranking`) are computed when they are asked for
    visible : [top, left, height, width] that is seen, in pixels; empty for the whole image

    Raises
    ------
    ValueError
        For an unknown name, and if sizes, labels or numbers do not fit.
    """

    _esm = f"const TEMPLATE = {json.dumps(_read('viewer.html'))};\n"
    _esm += "".join(_read(f"{name}.js") for name in _SCRIPTS.split())
    _css = _read("viewer.css")

    selected = traitlets.List(traitlets.Unicode()).tag(sync=True)
    mode = traitlets.Enum(overlay.MODES, "target").tag(sync=True)
    alpha = traitlets.Int(overlay.ALPHA, min=0, max=255).tag(sync=True)
    outline = traitlets.Int(1, min=0, max=8).tag(sync=True)
    dashed = traitlets.Bool(False).tag(sync=True)
    window = traitlets.List(traitlets.Int(), [0, 255]).tag(sync=True)
    visible = traitlets.List(traitlets.Int(), []).tag(sync=True)
    position = traitlets.Int(0).tag(sync=True)
    view_filter = traitlets.Enum(("", "frontal", "lateral"), "").tag(sync=True)
    sort_by = traitlets.Unicode("").tag(sync=True)
    _labels = traitlets.Dict().tag(sync=True)
    _items = traitlets.Dict().tag(sync=True)
    _first = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        image: overlay.ImageLike | sources.Source,
        masks: overlay.MasksLike | None = None,
        prediction: overlay.MasksLike | None = None,
        *,
        labels: LabelSet | None = None,
        selected: Iterable[str] | str | None = None,
        **style: Any,
    ):
        for name in style:
            check_choice(name, _STYLE, "setting")
        if not isinstance(image, sources.Source):
            image = sources.from_image(image, masks, prediction, labels)
        self._source = image
        self._load = lru_cache(3)(image.load)  # the image shown and its neighbours
        first = self._message(0)
        masks, known = None if "error" in first else self._load(0).masks, image.labels
        super().__init__(
            _labels={
                "names": list(known.names),
                "texts": list(known.display_names),
                "groups": list(known.group),
                "checked": list(known.checked),
                "colors": known.colors.tolist(),
                "tree": [list(entry) for entry in known.tree()],
            },
            _items={
                "names": image.names,
                "views": image.views,
                "scores": image.scores,
                "ranks": list(image.ranks),
            },
            _first=first,
            selected=image.choose(selected, masks),
            **{"mode": "both" if "prediction" in first else "target", **style},
        )
        self.on_msg(self._answer)

    @classmethod
    def browse(
        cls,
        images: PaxrayDataset | str | Path,
        predictions: sources.Predictions = None,
        *,
        scores: pd.DataFrame | None = None,
        labels: LabelSet | None = None,
        selected: Iterable[str] | str | None = None,
        **style: Any,
    ) -> "LabelViewer":
        """Return a viewer of many images, each read, and checked, when it is opened.

        Parameters
        ----------
        images : PaxrayDataset, or folder of images
        predictions : folder, or function of a Sample that returns masks (data sets only)
            Mask files bear the names of the images, as `predict` writes them.
        scores : table of a column `image` and numbers, such as `Evaluation.scores_by_image()`
        labels : LabelSet of `.npy` predictions of a folder; the 166 published ones by default
        selected, **style : as for `LabelViewer`
        """
        if isinstance(images, PaxrayDataset):
            source = sources.from_dataset(images, predictions)
        elif predictions is None or callable(predictions):
            raise ValueError(f"{images}: to browse a folder, name the folder of its predictions")
        else:
            source = sources.from_folder(images, predictions, labels)
        if scores is not None:
            source = replace(source, scores=sources.score_columns(scores, source.names))
        return cls(source, selected=selected, **style)

    def __repr__(self) -> str:
        names, labels = self._source.names, self._source.labels
        images = f"{len(names)} images" if len(names) > 1 else repr(names[0])
        return f"LabelViewer({images}, {len(labels)} labels, {len(self.selected)} selected)"

    def go_to(self, image: int | str) -> None:
        """Show the image of a position or name."""
        names = self._source.names
        if isinstance(image, str) and image not in names:
            raise ValueError(f"no image {image!r} to show{did_you_mean(image, names)}")
        self.position = names.index(image) if isinstance(image, str) else image

    def to_image(self) -> PilImage.Image:
        """Return what is seen, one pixel per pixel of the image: the same as the PNG button's."""
        pixels = self._draw()
        top, left, height, width = self.visible or (0, 0, *pixels.shape[:2])
        seen = pixels[top : top + height, left : left + width]
        # empty: a part of the larger image shown before
        return PilImage.fromarray(seen if seen.size else pixels)

    def figure(self) -> PilImage.Image:
        """Return the whole image as it is drawn, with a legend: a static figure of the viewer."""
        pixels, scene = self._draw(), self._load(self.position)
        entries = label_entries(self._source.labels, self._indices())
        if self.mode == "difference" and scene.target and scene.prediction:
            entries = overlay.DIFFERENCE_COLORS
        return side_by_side([pixels, legend_page(entries, len(pixels))])

    def _indices(self) -> list[int]:
        return sorted(i for name in self.selected for i in self._source.labels.index(name))

    def _draw(self) -> np.ndarray:
        """Return the (H, W, 3) uint8 pixels of the image at the current position."""
        style = {name: getattr(self, name) for name in _STYLE}
        return self._load(self.position).draw(self._indices(), **style)

    @traitlets.validate("selected")
    def _check_selected(self, proposal: dict) -> list[str]:
        labels, names = self._source.labels, list[str]()
        for item in proposal["value"]:
            exact = item in labels.names
            names += [item] if exact else [labels.names[i] for i in labels.select(item)]
        return list(dict.fromkeys(names))

    @traitlets.validate("window", "visible", "position", "sort_by")
    def _check(self, proposal: dict) -> Any:
        name, value, count = proposal["trait"].name, proposal["value"], len(self._source.names)
        if name == "window":
            overlay.window_table(value)
        elif name == "sort_by":
            check_choice(value, ["", *self._items["scores"], *self._items["ranks"]], "sort_by")
        elif name == "position" and not 0 <= value < count:
            raise ValueError(f"position {value}: there are {count} images, from 0 on")
        elif (
            name == "visible"
            and value
            and (len(value) != 4 or min(value[:2]) < 0 or min(value[2:]) < 1)
        ):
            raise ValueError(
                f"visible {value}: [top, left, height, width] in pixels is needed, or []"
            )
        return value

    @traitlets.observe("sort_by")
    def _score(self, change: dict) -> None:
        """Compute the scores that are sorted by, if no table has them."""
        column, scores = change["new"], self._items["scores"]
        if column and column not in scores:
            values = rank(column, self._source.load, len(self._source.names))
            self._items = {**self._items, "scores": {**scores, column: values}}

    def _message(self, index: int) -> dict[str, Any]:
        """Return what the browser gets of an image: the image, or why it cannot be shown."""
        try:
            return {"index": index, **self._load(index).to_message()}
        except (ValueError, OSError) as error:
            return {"index": index, "name": self._source.names[index], "error": str(error)}

    def _answer(self, _: Any, content: dict, __: Any) -> None:
        """Send the images that the browser asks for: the one opened, and its neighbours."""
        for index in content.get("need", []):
            if isinstance(index, int) and 0 <= index < len(self._source.names):
                message = self._message(index)
                parts = [key for key, value in message.items() if isinstance(value, bytes)]
                buffers = [message.pop(key) for key in parts]
                self.send({"scene": message, "parts": parts}, buffers)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict, dict] | None:
        if self._first["index"] != self.position:
            self._first = self._message(self.position)
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        names = self._source.names
        shown = ", ".join(self.selected[:12]) or "no label selected"
        caption = f"{names[self.position]}: {shown}"
        try:
            figure = self.figure()
        except (ValueError, OSError) as error:
            figure, caption = PilImage.new("RGB", (8, 8)), str(error)
        traits = LabelViewer.class_own_traits(sync=True).keys() - {"_first"}
        order = ((self.position + k) % len(names) for k in range(len(names)))
        page = offline_page(
            module=str(self._esm),
            css=str(self._css),
            traits={name: getattr(self, name) for name in sorted(traits)},
            messages=map(self._message, order),
            smaller=self._smaller,
            figure=figure,
            caption=caption,
            max_bytes=_PAGE_BYTES,
        )
        return {**data, "text/html": page}, metadata

    def _smaller(self, part: float) -> dict[str, Any]:
        """Return the message of the image shown, with height and width times `part`."""
        scene = self._load(self.position)
        message = scene.reduced(part).to_message()
        height, width = scene.pixels.shape[:2]
        size = "{height} x {width}".format_map(message)
        note = f"This page stores the image reduced to {size} pixels; it has {height} x {width}. "
        return {"index": self.position, **message, "note": note}
