"""What is visible in a drawn figure."""

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg


def drawn(figure):
    """Draw the figure and return the texts that are visible in it."""
    FigureCanvasAgg(figure).draw()
    texts = [
        text for axis in figure.axes for text in (axis.title, axis.xaxis.label, axis.yaxis.label)
    ]
    texts += [
        tick
        for axis in figure.axes
        if axis.axison
        for tick in axis.get_xticklabels() + axis.get_yticklabels()
    ]
    return [text.get_text() for text in texts if text.get_text()]


def legend_texts(owner):
    """Return the texts of the legends of a figure or an axis."""
    legends = owner.legends if hasattr(owner, "legends") else [owner.get_legend()]
    return [text.get_text() for legend in legends if legend for text in legend.get_texts()]


def overlaps(axis):
    """Return the tick labels of the y axis that are drawn over the next one."""
    boxes = [tick.get_window_extent() for tick in axis.get_yticklabels()]
    return [a for a, b in itertools.pairwise(boxes) if a.y0 < b.y1 - 1 and b.y0 < a.y1 - 1]
