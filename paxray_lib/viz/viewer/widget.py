"""LabelViewer: any of the labels over any image, drawn in the browser, so that it answers while the
kernel is busy.

In JupyterLab, Notebook 7 and other front ends with ipywidgets it is an anywidget; selection, style
and the image shown are traits that may be set from Python. Each display also carries a `text/html`
form that needs neither a kernel nor a network: in an HTML export it is the same viewer over the
images stored in it, and a reader without JavaScript sees a static figure. VS Code loads the
JavaScript of third-party widgets after asking (`jupyter.widgetScriptSources`), Colab needs its
custom widget manager, which anywidget enables by itself; both follow their documentation and were
not tried.

Controls bear `data-testid` attributes, for tests and scripts:

    viewer, stage, canvas, message, readout     the whole; image area; the drawn image; notices;
    labels under the cursor mode-target, mode-prediction, mode-both, mode-difference opacity,
    outline, dashed, level, window     style of labels and image zoom-in, zoom-out, zoom-reset, zoom
    buttons, and the text that says the scale export, copy, copied                        PNG of
    what is seen; the selection as Python; the last text copied search, present, all, none, count
    choosing; `count` says how many labels are selected tree, group-GROUP, expand-GROUP
    the tree; box of a group; its arrow label-NAME, only-NAME                       row of a label
    (`aria-checked`); its "only this" button. A name that
                                                occurs again has its index behind it:
                                                label-mediastinum_upper-16
    iou-NAME, dice-NAME, area-NAME, mean        scores, areas, and the mean scores of the selection
    browse, previous, next, jump, view, sort    browsing; present only with several images

On the viewer, `data-drawn` counts the drawings, `data-draw-ms` is the duration of the last one,
`data-first-ms` that of the first one of an image from its arrival on, and `data-visible` is the
trait `visible` at this moment."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import anywidget
import numpy as np
import traitlets
from PIL import Image as PilImage

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.images.read import Image, read_image
from paxray_lib.labels.table import LabelSet
from paxray_lib.utils.errors import did_you_mean
from paxray_lib.viz.coerce import as_masks, as_pixels
from paxray_lib.viz.compose import beside, legend_page
from paxray_lib.viz.overlay import ALPHA, MODES, compare, render, window_table
from paxray_lib.viz.viewer.offline_page import offline_page
from paxray_lib.viz.viewer.sources import (
    DatasetScenes,
    FolderScenes,
    OneScene,
    Scene,
    find_name,
    label_message,
    score_columns,
)

_HERE = Path(__file__).parent
_START = ("lung_left", "lung_right", "heart")
_STYLE = ("mode", "alpha", "outline", "dashed", "window")
_PAGE_BYTES = 380_000  # what a display adds to a page


def _source(*names: str) -> str:
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)


class LabelViewer(anywidget.AnyWidget):
    """Interactive viewer of labels over an image; see the module for its controls.

    Parameters
    ----------
    image : path or array
        Whatever `visualize_certain_labels` takes. With a known pixel spacing areas are shown in
        square centimeters.
    masks, prediction : path, (L, H, W) array or PackedMasks, optional
        Ground truth and prediction; at least one of them.
    labels : LabelSet, optional
        The labels of masks that do not carry them, if not the 166 published ones.
    selected : str or iterable of str, optional
        Names, groups and patterns chosen at first; without it lungs and heart, as far as they are
        present.
    **style
        Initial values of the traits `mode`, `alpha`, `outline`, `dashed` and `window`.

    Attributes
    ----------
    selected : list of str
        The chosen names, two-way. Set to names, groups or patterns; an exact name stands for
        itself.
    mode : {"target", "prediction", "both", "difference"}
    alpha, outline, dashed, window
        As for `overlay.render`.
    position : int
        The image shown, where there are several; see `browse`.
    view_filter : {"", "frontal", "lateral"}
    sort_by : str
        Column of scores by which images are ordered, lowest first; "" for their own order.
    visible : list
        [top, left, height, width] of the part that is seen, in pixels; empty for the whole image.

    Raises
    ------
    ValueError
        For an unknown name, and if sizes, labels or numbers do not fit, such as masks of another
        size than the image.
    """

    _esm = _source("viewer_pixels.js", "viewer_parts.js", "viewer.js")
    _css = _source("viewer.css")

    selected = traitlets.List(traitlets.Unicode()).tag(sync=True)
    mode = traitlets.Enum(MODES, "target").tag(sync=True)
    alpha = traitlets.Int(ALPHA, min=0, max=255).tag(sync=True)
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

    def __init__(self, image, masks=None, prediction=None, *, labels=None, selected=None, **style):
        target, prediction = (
            None if m is None else as_masks(m, labels) for m in (masks, prediction)
        )
        name = "image"
        if isinstance(image, (str, Path)):
            name, image = Path(image).stem, read_image(image)
        view, spacing = (image.view, image.spacing_mm) if isinstance(image, Image) else (None, None)
        scene = Scene(name, as_pixels(image), target, prediction, view, spacing)
        self._open(OneScene(scene), {}, selected, style)

    @classmethod
    def browse(
        cls,
        images: PaxrayDataset | str | Path,
        predictions: str | Path | Callable | None = None,
        *,
        scores=None,
        labels: LabelSet | None = None,
        selected: Iterable[str] | str | None = None,
        **style,
    ) -> "LabelViewer":
        """Return a viewer of many images, read one by one as they are opened.

        One that cannot be read, or whose masks do not fit, says so when it is opened.

        Parameters
        ----------
        images : PaxrayDataset, or folder of images
        predictions : folder, or function of a Sample that returns masks (data sets only)
            Mask files bear the names of the images, as `predict` writes them. Needed for a folder.
        scores : DataFrame, optional
            One row an image with a column `image` and numbers to sort by:
            `Evaluation.scores_by_image()`.
        labels : LabelSet, optional
            The labels of `.npy` predictions of a folder of images, if not the 166 published ones.
        selected, **style
            As for `LabelViewer`.
        """
        if isinstance(images, PaxrayDataset):
            scenes = DatasetScenes(images, predictions)
        elif predictions is None or callable(predictions):
            raise ValueError(f"{images}: to browse a folder, name the folder of its predictions")
        else:
            scenes = FolderScenes(images, predictions, labels)
        columns = {} if scores is None else score_columns(scores, scenes.names)
        viewer = cls.__new__(cls)
        viewer._open(scenes, columns, selected, style)
        return viewer

    def _open(self, scenes, columns: dict, selected, style: dict) -> None:
        for name in style:
            if name not in _STYLE:
                raise ValueError(
                    f"unknown setting {name!r}{did_you_mean(name, _STYLE)} (one of {', '.join(_STYLE)})"
                )
        self._scenes, self._columns, self._loaded = scenes, dict(columns), {}
        self._label_set: LabelSet = scenes.labels
        first = self._message(0)
        chosen = (
            self._at_first(self._loaded.get(0))
            if selected is None
            else self._label_set.select(selected)
        )
        super().__init__(
            _labels=label_message(self._label_set),
            _items={"names": scenes.names, "views": scenes.views, "scores": self._columns},
            _first=first,
            selected=[self._label_set.names[i] for i in chosen],
            **{"mode": "both" if "prediction" in first else "target", **style},
        )
        self.on_msg(self._answer)

    def _at_first(self, scene: Scene | None) -> list[int]:
        masks = scene and (scene.target if scene.target is not None else scene.prediction)
        if masks is None:  # unreadable, or an image without masks
            return []
        present = np.flatnonzero(masks.counts()).tolist()
        return [i for i in present if self._label_set.names[i] in _START] or present[:1]

    def __repr__(self) -> str:
        count = len(self._scenes.names)
        what = f"{count} images" if count > 1 else repr(self._scenes.names[0])
        return f"LabelViewer({what}, {len(self._label_set)} labels, {len(self.selected)} selected)"

    # -- from Python

    def go_to(self, which: int | str) -> None:
        """Show the image of a position or name."""
        self.position = which if isinstance(which, int) else find_name(self._scenes.names, which)

    def to_image(self) -> PilImage.Image:
        """Return what is seen, one pixel for each pixel of the image: the same picture as the PNG
        button's.
        """
        pixels = self._draw(self._load(self.position))
        top, left, height, width = self.visible or (0, 0, *pixels.shape[:2])
        seen = pixels[top : top + height, left : left + width]
        # empty: a part of the larger image shown before
        return PilImage.fromarray(seen if seen.size else pixels)

    def figure(self) -> PilImage.Image:
        """Return the whole image as it is drawn, with a legend: a static figure to stand beside the
        viewer.
        """
        pixels = self._draw(self._load(self.position))
        labels, indices = self._label_set, self._indices()
        legend = legend_page(
            [(labels.names[i], tuple(labels.colors[i].tolist())) for i in indices], len(pixels)
        )
        return beside([PilImage.fromarray(pixels), legend])

    def _indices(self) -> list[int]:
        return sorted({i for name in self.selected for i in self._label_set.index(name)})

    def _draw(self, scene: Scene) -> np.ndarray:
        style = {
            "alpha": self.alpha,
            "outline": self.outline,
            "dashed": self.dashed,
            "window": tuple(self.window),
        }
        if scene.target is not None and scene.prediction is not None:
            return compare(
                scene.pixels,
                scene.target,
                scene.prediction,
                self._indices(),
                mode=self.mode,
                **style,
            )
        masks = scene.target if scene.target is not None else scene.prediction
        if masks is None:  # a sample without a target
            shown = window_table(*self.window)[scene.pixels]
            return np.repeat(shown[..., None], 3, axis=2) if shown.ndim == 2 else shown
        return render(scene.pixels, masks, self._indices(), **style)

    # -- checks of what is set

    @traitlets.validate("selected")
    def _names_of(self, proposal) -> list[str]:
        known = set(self._label_set.names)
        found = [[name] if name in known else self._select(name) for name in proposal["value"]]
        return list(dict.fromkeys(name for names in found for name in names))

    def _select(self, pattern: str) -> list[str]:
        return [self._label_set.names[i] for i in self._label_set.select(pattern)]

    @traitlets.validate("window")
    def _window_of(self, proposal) -> list[int]:
        if len(proposal["value"]) != 2:
            raise ValueError(
                f"window {proposal['value']}: two gray values, low and high, are needed"
            )
        window_table(*proposal["value"])
        return list(proposal["value"])

    @traitlets.validate("visible")
    def _visible_of(self, proposal) -> list[int]:
        part = proposal["value"]
        if part and (len(part) != 4 or min(part[:2]) < 0 or min(part[2:]) < 1):
            raise ValueError(
                f"visible {part}: top, left, height and width in pixels are needed, or [] for the whole image"
            )
        return part

    @traitlets.validate("position")
    def _position_of(self, proposal) -> int:
        if not 0 <= proposal["value"] < len(self._scenes.names):
            raise ValueError(
                f"position {proposal['value']}: there are {len(self._scenes.names)} images, from 0 on"
            )
        return proposal["value"]

    @traitlets.validate("sort_by")
    def _sort_of(self, proposal) -> str:
        if proposal["value"] and proposal["value"] not in self._columns:
            found = ", ".join(self._columns) or "none"
            raise ValueError(f"no column {proposal['value']!r} to sort by; the scores have {found}")
        return proposal["value"]

    # -- to the browser

    def _load(self, index: int) -> Scene:
        if index not in self._loaded:
            self._loaded = {
                **dict(list(self._loaded.items())[-2:]),
                index: self._scenes.load(index),
            }
        return self._loaded[index]

    def _message(self, index: int) -> dict:
        try:
            return {"index": index, **self._load(index).to_message()}
        except (ValueError, OSError) as error:
            return {"index": index, "name": self._scenes.names[index], "error": str(error)}

    def _answer(self, _, content: dict, __) -> None:
        """Send the images that the browser asks for: the one that was opened, and its
        neighbours.
        """
        for index in content.get("need", []):
            if isinstance(index, int) and 0 <= index < len(self._scenes.names):
                message = self._message(index)
                parts = [key for key, value in message.items() if isinstance(value, bytes)]
                buffers = [message.pop(key) for key in parts]
                self.send({"scene": message, "parts": parts}, buffers)

    def _repr_mimebundle_(self, **kwargs):
        if self._first["index"] != self.position:
            self._first = self._message(self.position)
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return {**data, "text/html": self._page()}, metadata

    def _page(self) -> str:
        """Return the viewer as HTML with the image shown and as many after it as a page has room
        for.
        """
        state = {
            name: getattr(self, name)
            for name in self.trait_names(sync=True)
            if name in _PAGE_TRAITS
        }
        picture = io.BytesIO()
        caption = f"{self._scenes.names[self.position]}: {', '.join(self.selected[:12]) or 'no label selected'}"
        try:
            figure = self.figure()
        except (ValueError, OSError) as error:
            figure, caption = PilImage.new("RGB", (8, 8)), str(error)
        figure.thumbnail((700, 700))
        figure.save(picture, "JPEG", quality=70)
        count = len(self._scenes.names)
        messages = (self._message((self.position + k) % count) for k in range(count))
        sources = str(self._esm), str(self._css)
        return offline_page(
            *sources, state, messages, self._smaller, picture.getvalue(), caption, _PAGE_BYTES
        )

    def _smaller(self, part: float) -> dict:
        """Return the message of the image shown, reduced."""
        scene = self._load(self.position)
        message = scene.reduced(part).to_message()
        (height, width), size = scene.pixels.shape[:2], f"{message['height']} x {message['width']}"
        note = f"This page stores the image reduced to {size} pixels; it has {height} x {width}. "
        return {"index": self.position, **message, "note": note}


_PAGE_TRAITS = {
    *(
        "selected",
        "mode",
        "alpha",
        "outline",
        "dashed",
        "window",
        "visible",
        "position",
        "view_filter",
        "sort_by",
    ),
    *("_labels", "_items"),
}
