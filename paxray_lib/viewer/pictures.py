"""What a viewer shows, drawn in Python: the same pixels as in the browser."""

from typing import Any

import numpy as np
from PIL import Image as PilImage

from paxray_lib.viewer.wire import Wire
from paxray_lib.viz import heat, overlay
from paxray_lib.viz.compose import label_entries, legend_page, side_by_side, titled

#: The traits that say how labels are drawn.
STYLE = ("mode", "alpha", "outline", "dashed", "window")


class Pictures(Wire):
    """A viewer as pictures."""

    def to_image(self) -> PilImage.Image:
        """Return what is seen, one pixel per pixel of the image: the same as the PNG button's."""
        panels = list(self._draw().values())
        top, left, height, width = self.visible or (0, 0, *panels[0].shape[:2])
        seen = [pixels[top : top + height, left : left + width] for pixels in panels]
        # empty: a part of the larger image shown before
        return side_by_side(seen if seen[0].size else panels)

    def figure(self) -> PilImage.Image:
        """Return the whole image as it is drawn, with a legend: a static figure of the viewer."""
        panels, scene = self._draw(), self._load(self.position)
        entries = label_entries(self._source.labels, self._indices())
        if self.mode == "probability" and scene.probabilities:
            entries = heat.scale()
        if self.mode == "difference" and scene.target and scene.prediction:
            entries = overlay.DIFFERENCE_COLORS
            if self.names:
                first, second = self.names
                terms = ("both", f"only {second}", f"only {first}")
                entries = dict(zip(terms, entries.values(), strict=True))
        shown = [titled(pixels, title) if title else pixels for title, pixels in panels.items()]
        return side_by_side([*shown, legend_page(entries, len(shown[0]))])

    def _indices(self) -> list[int]:
        return sorted(i for name in self.selected for i in self._source.labels.index(name))

    def _draw(self) -> dict[str, np.ndarray]:
        """Return the (H, W, 3) uint8 pixels of each panel by its title; of one alone by ""."""
        style: dict[str, Any] = {name: getattr(self, name) for name in STYLE}
        scene, shown = self._load(self.position), (self.heat_label, self.thresholds)
        modes = {"": self.mode}
        if self.mode == "beside" and scene.target and scene.prediction:
            titles = self.names or ("ground truth", "prediction")
            modes = dict(zip(titles, ("target", "prediction"), strict=True))
        return {
            title: scene.draw(self._indices(), heat=shown, **style | {"mode": mode})
            for title, mode in modes.items()
        }
