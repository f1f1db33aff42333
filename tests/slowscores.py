"""Scores and their intervals once more, by loops that leave no doubt, to check those of tables and pages."""

import numpy as np


def image_score(tp, fp, fn, name):
    if tp + fp + fn == 0:
        return None
    return tp / (tp + fp + fn) if name == "iou" else 2 * tp / (2 * tp + fp + fn)


def mean(values):
    return sum(values) / len(values) if values else None


def slow_score(counts, images, labels, score):
    """Mean over images (a list, some of them several times), then over labels."""
    name, convention = score.split("_")
    per_label = []
    for k in labels:
        values = [image_score(*(int(counts[key][i, k]) for key in ("tp", "fp", "fn")), name) for i in images]
        if convention == "published":
            per_label.append(mean([value or 0.0 for value in values]))
        else:
            per_label.append(mean([value for value in values if value is not None]))
    return mean([value for value in per_label if value is not None])


def slow_draws(cases):
    names = sorted(set(cases))
    for row in np.random.default_rng(0).integers(0, len(names), (2000, len(names))):
        yield [i for p in row for i, case in enumerate(cases) if case == names[p]]


def slow_interval(values):
    values = [value for value in values if value is not None]
    return np.percentile(values, [2.5, 97.5])
