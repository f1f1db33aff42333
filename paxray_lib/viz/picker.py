"""A simple label picker for notebooks: ipywidgets around `visualize_certain_labels`, redrawn by the
kernel.

`LabelViewer` is the fast and complete viewer; this one is short enough to be read and changed.
"""

import io
from collections.abc import Iterable

import ipywidgets as widgets
import numpy as np
from PIL import Image as PilImage

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viz.coerce import as_masks, as_pixels, check_size
from paxray_lib.viz.compose import beside, titled
from paxray_lib.viz.overlay import ALPHA, compare, visualize_certain_labels

_ALL_GROUPS = "all groups"
_START = ("lung_left", "lung_right", "heart")


def pick_labels(
    image,
    masks,
    prediction=None,
    *,
    labels: LabelSet | None = None,
    selected: Iterable[str] | str | None = None,
) -> "LabelPicker":
    """Return an ipywidgets box to choose labels and see them over an image.

    Parameters
    ----------
    image : path or array
        Whatever `visualize_certain_labels` takes.
    masks : path, (L, H, W) array or PackedMasks
    prediction : same as masks, optional
        Shown beside `masks`, which are then titled as ground truth.
    labels : LabelSet, optional
        The labels of `masks` and `prediction`, if these do not carry them and are not the 166
        published ones.
    selected : str or iterable of str, optional
        Names, groups and patterns chosen at first; without it lungs and heart, as far as they are
        present.

    Returns
    -------
    LabelPicker
        A box with `.selected`, a list of names that may also be set, and `.picture()`, the PIL
        image shown.

    Raises
    ------
    ValueError
        For an unknown name, and if sizes or numbers do not fit.
    """
    pixels, target = as_pixels(image), as_masks(masks, labels)
    check_size(pixels, target)
    if prediction is not None:
        prediction = as_masks(prediction, labels)
        check_size(pixels, prediction, "predicted masks")
        # labels that differ are refused now, not at the first click
        compare(pixels, target, prediction, [])
    return LabelPicker(pixels, target, prediction, selected)


class LabelPicker(widgets.HBox):
    """The box that `pick_labels` returns: controls on the left, the picture on the right."""

    def __init__(
        self,
        pixels: np.ndarray,
        target: PackedMasks,
        prediction: PackedMasks | None,
        selected: Iterable[str] | str | None = None,
    ):
        self._pixels, self._target, self._prediction = pixels, target, prediction
        self._labels = target.labels
        self._listed: tuple[str, ...] = ()
        self._selected: tuple[str, ...] = ()
        self._busy = False
        self._make_controls()
        super().__init__(
            [
                widgets.VBox(self._controls, layout={"width": "270px", "flex": "0 0 auto"}),
                self._view,
            ]
        )
        self.layout.align_items = "flex-start"
        self._list()
        self.selected = self._at_first() if selected is None else selected
        self._connect()

    def __repr__(self) -> str:
        _, height, width = self._target.shape
        return f"LabelPicker({height} x {width}, {len(self._labels)} labels, {len(self._selected)} selected)"

    @property
    def selected(self) -> list[str]:
        """The chosen names, in the order of the labels; may be set to names, groups and
        patterns.
        """
        return list(self._selected)

    @selected.setter
    def selected(self, names: Iterable[str] | str) -> None:
        self._choose(self._labels.names[i] for i in self._labels.select(names))

    def picture(self) -> PilImage.Image:
        """Return what is shown."""
        pictures = [
            self._draw(masks) for masks in (self._target, self._prediction) if masks is not None
        ]
        if self._prediction is None:
            return pictures[0]
        titles = ("ground truth", "prediction")
        return beside(
            [titled(np.asarray(p), title) for p, title in zip(pictures, titles, strict=True)]
        )

    def _draw(self, masks: PackedMasks) -> PilImage.Image:
        return visualize_certain_labels(
            self._selected,
            self._pixels,
            masks,
            alpha=self._opacity.value * 255 // 100,
            outline=self._outline.value,
        )

    def _at_first(self) -> list[str]:
        counts = self._target.counts()
        present = [name for name, count in zip(self._labels.names, counts, strict=True) if count]
        return [name for name in _START if name in present] or present[:1]

    def _make_controls(self) -> None:
        wide = {"width": "98%"}
        self._search = widgets.Text(placeholder="search names and groups", layout=wide)
        self._group = widgets.Dropdown(options=[_ALL_GROUPS, *self._labels.groups], layout=wide)
        self._names = widgets.SelectMultiple(rows=16, layout=wide)
        self._all = widgets.Button(description="add all listed", layout={"width": "48%"})
        self._none = widgets.Button(description="clear", layout={"width": "48%"})
        slider = {"layout": wide, "style": {"description_width": "72px"}}
        self._opacity = widgets.IntSlider(
            round(ALPHA * 100 / 255), 0, 100, description="opacity %", **slider
        )
        self._outline = widgets.IntSlider(1, 0, 5, description="outline", **slider)
        self._status = widgets.Label()
        self._view = widgets.Image(
            format="png", layout={"max_width": "calc(100% - 280px)", "object_fit": "contain"}
        )
        hint = widgets.Label("Ctrl or Shift + click chooses several.")
        buttons = widgets.HBox([self._all, self._none])
        self._controls = [
            self._search,
            self._group,
            self._names,
            hint,
            buttons,
            self._opacity,
            self._outline,
        ]
        self._controls.append(self._status)

    def _connect(self) -> None:
        for control in (self._search, self._group):
            control.observe(lambda _: self._list(), "value")
        self._names.observe(lambda change: self._choose_listed(change["new"]), "value")
        for control in (self._opacity, self._outline):
            control.observe(lambda _: self._redraw(), "value")
        self._all.on_click(lambda _: self._choose(self._selected + self._listed))
        self._none.on_click(lambda _: self._choose(()))

    def _list(self) -> None:
        """List the names that fit the search and the group, as the tree has them."""
        word, group = self._search.value.strip().lower(), self._group.value
        options = {}
        for i, depth in self._labels.tree():
            name = self._labels.names[i]
            if (
                group in (_ALL_GROUPS, self._labels.group[i])
                and word in f"{name} {self._labels.group[i]}".lower()
            ):
                options.setdefault(name, "\N{NO-BREAK SPACE}" * 3 * depth + name)
        self._listed = tuple(options)
        self._busy = True  # new options empty the list's value, which is not a choice of the reader
        self._names.options = [(text, name) for name, text in options.items()]
        self._names.value = tuple(name for name in options if name in self._selected)
        self._busy = False

    def _choose_listed(self, names: Iterable[str]) -> None:
        if self._busy:
            return
        hidden = (name for name in self._selected if name not in self._listed)
        self._choose((*hidden, *names))

    def _choose(self, names: Iterable[str]) -> None:
        wanted = set(names)
        self._selected = tuple(name for name in dict.fromkeys(self._labels.names) if name in wanted)
        self._busy = True
        self._names.value = tuple(name for name in self._listed if name in wanted)
        self._busy = False
        self._status.value = f"{len(self._selected)} of {len(set(self._labels.names))} selected"
        self._redraw()

    def _redraw(self) -> None:
        buffer = io.BytesIO()
        self.picture().save(buffer, "PNG", compress_level=1)  # a click waits for it
        self._view.value = buffer.getvalue()
