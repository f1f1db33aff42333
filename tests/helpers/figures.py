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


def overlaps(axis):
    boxes = [tick.get_window_extent() for tick in axis.get_yticklabels()]
    return [a for a, b in itertools.pairwise(boxes) if a.y0 < b.y1 - 1 and b.y0 < a.y1 - 1]
