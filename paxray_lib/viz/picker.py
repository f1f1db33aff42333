"""A simple label picker for notebooks: ipywidgets around `render`, redrawn by the kernel.

`LabelViewer` is the fast and complete viewer. This one is short enough to be read and changed.
"""

import io
from collections.abc import Iterable

import ipywidgets as widgets
import numpy as np
from PIL import Image as PilImage
from traitlets import Bunch

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viz.coerce import ImageLike, MasksLike, as_masks, as_pixels, check_size
from paxray_lib.viz.compose import side_by_side, titled
from paxray_lib.viz.overlay import ALPHA, compare, render
from paxray_lib.viz.selection import first_selection, search_labels

_ALL_GROUPS = "all groups"
_FULL, _WIDE, _HALF = {"width": "100%"}, {"width": "98%"}, {"width": "48%"}
_INDENT = 3 * "\N{NO-BREAK SPACE}"


def pick_labels(
    image: ImageLike,
    masks: MasksLike,
    prediction: MasksLike | None = None,
    *,
    labels: LabelSet | None = None,
    selected: Iterable[str] | str | None = None,
) -> "LabelPicker":
    """Return an ipywidgets box to choose labels and see them over an image.

    Parameters
    ----------
    image : path, PIL image, or (H, W) or (H, W, 3) array
        See `as_pixels`.
    masks : PackedMasks, path, or (L, H, W) array
        See `as_masks`.
    prediction : same as masks, optional
        Shown to the right of `masks`, which are then titled as ground truth.
    labels : LabelSet, optional
        The labels of `masks` and `prediction`, if these do not carry them and are not the 166
        published ones.
    selected : str or iterable of str, optional
        Names, groups and patterns chosen at first; by default lungs and heart, as far as they are
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
    """The box that `pick_labels` returns: controls on the left, the image on the right."""

    def __init__(
        self,
        pixels: np.ndarray,
        target: PackedMasks,
        prediction: PackedMasks | None,
        selected: Iterable[str] | str | None = None,
    ):
        self._pixels, self._target, self._prediction = pixels, target, prediction
        self._labels = target.labels
        first = first_selection(target) if selected is None else self._labels.select(selected)
        self._selected = self._in_order(self._labels.names[i] for i in first)
        self._make_controls()
        left = widgets.VBox(self._controls, layout={"width": "270px", "flex": "0 0 auto"})
        super().__init__([left, self._view], layout={"align_items": "flex-start"})
        self._list_labels()
        self._redraw()
        self._connect()

    def __repr__(self) -> str:
        _, height, width = self._target.shape
        return (
            f"LabelPicker({height} x {width}, {len(self._labels)} labels, "
            f"{len(self._selected)} selected)"
        )

    @property
    def selected(self) -> list[str]:
        """The chosen names, in the order of the labels; may be set to names, groups, patterns."""
        return list(self._selected)

    @selected.setter
    def selected(self, names: Iterable[str] | str) -> None:
        self._choose(self._labels.names[i] for i in self._labels.select(names))

    def picture(self) -> PilImage.Image:
        """Return the image that is shown."""
        target = self._draw(self._target)
        if self._prediction is None:
            return side_by_side([target])
        prediction = self._draw(self._prediction)
        return side_by_side([titled(target, "ground truth"), titled(prediction, "prediction")])

    def _draw(self, masks: PackedMasks) -> np.ndarray:
        indices = [i for name in self._selected for i in self._labels.index(name)]
        alpha = self._opacity.value * 255 // 100
        return render(self._pixels, masks, indices, alpha=alpha, outline=self._outline.value)

    def _make_controls(self) -> None:
        self._search = widgets.Text(placeholder="search names and groups", layout=_WIDE)
        self._group = widgets.Dropdown(options=[_ALL_GROUPS, *self._labels.groups], layout=_WIDE)
        self._box, self._lists = widgets.Box(layout=_WIDE), dict[tuple, widgets.SelectMultiple]()
        self._all = widgets.Button(description="add all listed", layout=_HALF)
        self._none = widgets.Button(description="clear", layout=_HALF)
        slider = {"layout": _WIDE, "style": {"description_width": "72px"}}
        percent = round(ALPHA * 100 / 255)
        self._opacity = widgets.IntSlider(percent, 0, 100, description="opacity %", **slider)
        self._outline = widgets.IntSlider(1, 0, 5, description="outline", **slider)
        self._status = widgets.Label()
        self._view = widgets.Image(
            format="png", layout={"max_width": "calc(100% - 280px)", "object_fit": "contain"}
        )
        self._controls = [
            self._search,
            self._group,
            self._box,
            widgets.Label("Ctrl or Shift + click chooses several."),
            widgets.HBox([self._all, self._none]),
            self._opacity,
            self._outline,
            self._status,
        ]

    def _connect(self) -> None:
        for control in (self._search, self._group):
            control.observe(lambda _: self._list_labels(), "value")
        for control in (self._opacity, self._outline):
            control.observe(lambda _: self._redraw(), "value")
        self._all.on_click(self._choose_all)
        self._none.on_click(lambda _: self._choose(()))

    def _list_labels(self) -> None:
        """Show the list of the labels that fit the search and the group, as the tree has them.

        Other labels are another list, not new options of the same one. A click that is under way
        belongs to the list that was seen: with new options it would choose another label, and the
        front end fails where there are fewer of them.
        """
        found = set(search_labels(self._labels, self._search.value))
        texts: dict[str, str] = {}
        for i, depth in self._labels.tree():
            if i in found and self._group.value in (_ALL_GROUPS, self._labels.group[i]):
                name = self._labels.names[i]
                texts.setdefault(name, _INDENT * depth + self._text(name))
        names = tuple(texts)
        if names not in self._lists:
            options = [(text, name) for name, text in texts.items()]
            self._lists[names] = widgets.SelectMultiple(options=options, rows=16, layout=_FULL)
            self._lists[names].observe(self._choose_listed, "value")
        self._box.children = [self._lists[names]]
        self._mark()

    def _text(self, name: str) -> str:
        """Return a name as it is listed: with the indices, if it is that of several labels."""
        indices = self._labels.index(name)
        return name if len(indices) == 1 else f"{name} ({', '.join(map(str, indices))})"

    def _choose_listed(self, change: Bunch) -> None:
        """Take over what was chosen in a list; labels that it does not have stay chosen."""
        listed = {name for _, name in change.owner.options}
        self._choose([*(name for name in self._selected if name not in listed), *change.new])

    def _choose_all(self, _: widgets.Button) -> None:
        (listed,) = self._box.children
        self._choose([*self._selected, *(name for _, name in listed.options)])

    def _choose(self, names: Iterable[str]) -> None:
        selected = self._in_order(names)
        if selected != self._selected:
            self._selected = selected
            self._mark()
            self._redraw()

    def _mark(self) -> None:
        """Mark the chosen names in the list."""
        (listed,) = self._box.children
        listed.value = [name for _, name in listed.options if name in self._selected]

    def _in_order(self, names: Iterable[str]) -> list[str]:
        """Return names in the order of the labels, each once."""
        wanted = set(names)
        return [name for name in dict.fromkeys(self._labels.names) if name in wanted]

    def _redraw(self) -> None:
        count = len(set(self._labels.names))
        self._status.value = f"{len(self._selected)} of {count} selected"
        buffer = io.BytesIO()
        self.picture().save(buffer, "PNG", compress_level=1)  # a click waits for it
        self._view.value = buffer.getvalue()
