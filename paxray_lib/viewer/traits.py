"""What the viewer in Python and its page in the browser share: traits, and their checks."""

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

from paxray_lib.models.decisions import check_threshold
from paxray_lib.utils.errors import check_choice
from paxray_lib.viewer.assets import CSS, MODULE
from paxray_lib.viewer.ranking import rank
from paxray_lib.viewer.scene import Scene
from paxray_lib.viewer.sources import Source
from paxray_lib.viz import overlay


class ViewerTraits(anywidget.AnyWidget):
    """The state of a `LabelViewer`, which says what each trait means."""

    _source: Source
    _load: Callable[[int], Scene]
    _corrected: set[int]  # positions whose computed scores are of masks before

    _esm, _css = MODULE, CSS

    selected = traitlets.List(traitlets.Unicode()).tag(sync=True)
    mode = traitlets.Enum((*overlay.MODES, "beside", "probability"), "target").tag(sync=True)
    heat_label = traitlets.Unicode("").tag(sync=True)
    thresholds = traitlets.Dict(traitlets.Float()).tag(sync=True)
    names = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    alpha = traitlets.Int(overlay.ALPHA, min=0, max=255).tag(sync=True)
    outline = traitlets.Int(1, min=0, max=8).tag(sync=True)
    dashed = traitlets.Bool(False).tag(sync=True)
    window = traitlets.List(traitlets.Int(), [0, 255]).tag(sync=True)
    visible = traitlets.List(traitlets.Int(), []).tag(sync=True)
    position = traitlets.Int(0).tag(sync=True)
    view_filter = traitlets.Enum(("", "frontal", "lateral"), "").tag(sync=True)
    sort_by = traitlets.Unicode("").tag(sync=True)
    _editable = traitlets.Bool(False).tag(sync=True)
    _folder = traitlets.Unicode("").tag(sync=True)
    _review = traitlets.Dict().tag(sync=True)
    _labels = traitlets.Dict().tag(sync=True)
    _items = traitlets.Dict().tag(sync=True)
    _first = traitlets.Dict().tag(sync=True)

    @traitlets.validate("selected")
    def _check_selected(self, proposal: dict) -> list[str]:
        labels, names = self._source.labels, list[str]()
        for item in proposal["value"]:
            exact = item in labels.names
            names += [item] if exact else [labels.names[i] for i in labels.select(item)]
        return list(dict.fromkeys(names))

    @traitlets.validate("thresholds")
    def _check_thresholds(self, proposal: dict) -> dict[str, float]:
        for name, value in proposal["value"].items():
            check_choice(name, self._source.labels.names, "label")
            check_threshold(value)
        return {name: round(value, 2) for name, value in proposal["value"].items()}

    @traitlets.validate("window", "visible", "position", "sort_by", "heat_label")
    def _check(self, proposal: dict) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if name == "heat_label":
            check_choice(value, ["", *self._source.labels.names], "heat_label")
        elif name == "window":
            overlay.window_table(value)
        elif name == "sort_by":
            check_choice(value, ["", *self._items["scores"], *self._items["ranks"]], "sort_by")
        elif name == "position":
            self._check_position(value)
        elif (
            name == "visible"
            and value
            and (len(value) != 4 or min(value[:2]) < 0 or min(value[2:]) < 1)
        ):
            raise ValueError(
                f"visible {value}: [top, left, height, width] in pixels is needed, or []"
            )
        return value

    def _check_position(self, value: int) -> None:
        count = len(self._source.names)
        if type(value) is not int or not 0 <= value < count:
            raise ValueError(f"position {value}: there are {count} images, from 0 on")

    @traitlets.observe("sort_by")
    def _score(self, change: dict) -> None:
        """Compute the scores to sort by, if no table has them: all, or of what was corrected."""
        column, scores = change["new"], self._items["scores"]
        if not column or column in self._source.scores:
            return
        positions = list(range(len(self._source.names)))
        values = scores.get(column, [None] * len(positions))
        if column in scores:
            positions = sorted(self._corrected)
        found = rank(column, self._load, positions, of_target=self._editable)
        values = [found.get(k, value) for k, value in enumerate(values)]
        others = self._source.scores if self._corrected else scores
        self._corrected.clear()
        self._items = {**self._items, "scores": {**others, column: values}}
