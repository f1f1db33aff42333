"""A simple label picker for notebooks: ipywidgets around `render`, redrawn by the kernel.

`LabelViewer` is the fast and complete viewer. This one is short enough to be read and changed.
"""

import io
from collections.abc import Iterable
from typing import Any

import ipywidgets as widgets
from PIL import Image as PilImage
from traitlets import Bunch

from paxray_lib.labels import CHECK_MARKS, LabelSet
from paxray_lib.viewer.sources import from_image
from paxray_lib.viz.compose import side_by_side, titled
from paxray_lib.viz.overlay import ALPHA, ImageLike, MasksLike, render

_ALL_GROUPS = "all groups"
_FULL, _WIDE, _HALF = {"width": "100%"}, {"width": "98%"}, {"width": "48%"}
_SLIDER: dict[str, Any] = {"layout": _WIDE, "style": {"description_width": "72px"}}
_INDENT = 3 * "\N{NO-BREAK SPACE}"


def search_labels(labels: LabelSet, text: str) -> list[int]:
    """Return the indices of the labels that a search finds.

    Every word of the text must occur in the name of the label or of its group, in any order, and
    be it in part. Capital and small letters are the same, and an underscore counts as a space.
    The viewer's JavaScript repeats this rule.

    >>> labels = LabelSet(["rib_left_1", "rib_right_1", "heart"])
    >>> search_labels(labels, "left rib"), search_labels(labels, "RIB_1"), search_labels(labels, "")
    ([0], [0, 1], [0, 1, 2])
    """
    words = text.lower().replace("_", " ").split()
    texts = [f"{name}_{group}" for name, group in zip(labels.names, labels.group, strict=True)]
    known = enumerate(text.lower().replace("_", " ") for text in texts)
    return [i for i, name in known if all(word in name for word in words)]


class LabelPicker(widgets.HBox):
    """The box that `pick_labels` returns: controls on the left, the image on the right.

    The parameters are those of `LabelViewer`. With a prediction there are two images, titled
    ground truth and prediction. An unknown name, or sizes that do not fit, are a ValueError.
    """

    def __init__(
        self,
        image: ImageLike,
        masks: MasksLike,
        prediction: MasksLike | None = None,
        *,
        labels: LabelSet | None = None,
        selected: Iterable[str] | str | None = None,
    ):
        source = from_image(image, masks, prediction, labels)
        self._labels, self._scene = source.labels, source.load(0)
        self._names = list(dict.fromkeys(self._labels.names))
        self._selected = list(dict.fromkeys(source.choose(selected, self._scene.masks)))
        self._lists: dict[tuple[str, ...], widgets.SelectMultiple] = {}
        controls = widgets.VBox(self._controls(), layout={"width": "270px", "flex": "0 0 auto"})
        limits = {"max_width": "calc(100% - 280px)", "object_fit": "contain"}
        self._view = widgets.Image(format="png", layout=limits)
        super().__init__([controls, self._view], layout={"align_items": "flex-start"})
        self._list_labels()
        self._redraw()

    def __repr__(self) -> str:
        height, width = self._scene.pixels.shape[:2]
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
        scene, images = self._scene, {}
        indices = [i for name in self._selected for i in self._labels.index(name)]
        style = {"alpha": self._opacity.value * 255 // 100, "outline": self._outline.value}
        for title, masks in (("ground truth", scene.target), ("prediction", scene.prediction)):
            if masks is not None:
                images[title] = render(scene.pixels, masks, indices, **style)
        if len(images) > 1:
            images = {title: titled(image, title) for title, image in images.items()}
        return side_by_side(list(images.values()))

    def _controls(self) -> list[widgets.Widget]:
        self._search = widgets.Text(placeholder="search names and groups", layout=_WIDE)
        self._group = widgets.Dropdown(options=[_ALL_GROUPS, *self._labels.groups], layout=_WIDE)
        self._box = widgets.Box(layout=_WIDE)
        self._all = widgets.Button(description="add all listed", layout=_HALF)
        self._none = widgets.Button(description="clear", layout=_HALF)
        self._opacity = widgets.IntSlider(
            round(ALPHA * 100 / 255), 0, 100, description="opacity %", **_SLIDER
        )
        self._outline = widgets.IntSlider(1, 0, 5, description="outline", **_SLIDER)
        self._status = widgets.Label()
        for control in (self._search, self._group):
            control.observe(lambda _: self._list_labels(), "value")
        for control in (self._opacity, self._outline):
            control.observe(lambda _: self._redraw(), "value")
        self._all.on_click(lambda _: self._choose([*self._selected, *self._listed()]))
        self._none.on_click(lambda _: self._choose([]))
        return [
            *(self._search, self._group, self._box),
            widgets.Label("Ctrl or Shift + click chooses several."),
            widgets.Label("Checked on * one real CT only, ** nothing real."),
            widgets.HBox([self._all, self._none]),
            *(self._opacity, self._outline, self._status),
        ]

    def _list_labels(self) -> None:
        """Show the list of the labels that fit the search and the group, as the tree has them.

        Other labels are another list, not new options of the same one. A click that is under way
        belongs to the list that was seen: with new options it would choose another label, and the
        front end fails where there are fewer of them.
        """
        labels, group, masks = self._labels, self._group.value, self._scene.masks
        found, texts = search_labels(labels, self._search.value), dict[str, str]()
        for i, depth in labels.tree():
            if i in found and group in (_ALL_GROUPS, labels.group[i]):
                name, same = labels.names[i], labels.index(labels.names[i])
                text = _INDENT * depth + name + CHECK_MARKS[labels.checked[i]]
                text += f" ({', '.join(map(str, same))})" if len(same) > 1 else ""
                text += " – not annotated" if masks and not masks.known[i] else ""
                texts.setdefault(name, text)
        names = tuple(texts)
        if names not in self._lists:
            options = [(text, name) for name, text in texts.items()]
            self._lists[names] = widgets.SelectMultiple(options=options, rows=16, layout=_FULL)
            self._lists[names].observe(self._choose_listed, "value")
        self._box.children = [self._lists[names]]
        self._mark_selected()

    def _listed(self) -> list[str]:
        return [name for _, name in self._box.children[0].options]

    def _mark_selected(self) -> None:
        self._box.children[0].value = [name for name in self._listed() if name in self._selected]

    def _choose_listed(self, change: Bunch) -> None:
        """Take over what was chosen in a list; labels that it does not have stay chosen."""
        listed = {name for _, name in change.owner.options}
        self._choose([*(name for name in self._selected if name not in listed), *change.new])

    def _choose(self, names: Iterable[str]) -> None:
        selected = sorted(set(names), key=self._names.index)
        if selected != self._selected:
            self._selected = selected
            self._mark_selected()
            self._redraw()

    def _redraw(self) -> None:
        self._status.value = f"{len(self._selected)} of {len(self._names)} selected"
        buffer = io.BytesIO()
        self.picture().save(buffer, "PNG", compress_level=1)  # a click waits for it
        self._view.value = buffer.getvalue()


pick_labels = LabelPicker
