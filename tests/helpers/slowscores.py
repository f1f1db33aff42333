"""Scores and their intervals once more, by loops that leave no doubt, to check those of tables and
pages.
"""

import math

import numpy as np

PARTS = {  # of each score: what is divided by what, of the sums over the names
    "iou": (["tp"], ["tp", "fp", "fn"]),
    "dice": (["tp", "tp"], ["tp", "tp", "fp", "fn"]),
    "precision": (["tp"], ["tp", "fp"]),
    "recall": (["tp"], ["tp", "fn"]),
    "nsd": (["surface_within"], ["surface_total"]),
}


def mean(values):
    return sum(values) / len(values) if values else None


def image_scores(counts, score):
    """Return {(image, label): score of an image, None without one} for a score such as
    iou_present.
    """
    name, convention = score.split("_")
    part, whole = PARTS[name]
    found = {}
    for i, k in np.ndindex(counts["tp"].shape):
        above, below = (sum(int(counts[key][i, k]) for key in keys) for keys in (part, whole))
        absent = 0.0 if convention == "published" else None
        found[i, k] = (above / below if below else absent) if counts["known"][i, k] else None
    return found


def slow_mean(known, images, labels):
    """Mean over images (a list, some of them several times), then over labels."""
    per_label = [mean([known[i, k] for i in images if known[i, k] is not None]) for k in labels]
    return mean([value for value in per_label if value is not None])


def slow_score(counts, images, labels, score):
    return slow_mean(image_scores(counts, score), images, labels)


def slow_labels_scored(counts, images, labels, score):
    """Return how many labels have a score in one of the images at least."""
    known = image_scores(counts, score)
    return sum(any(known[i, k] is not None for i in images) for k in labels)


def slow_distances(counts, images, labels):
    """Return the upper median of the distances of these images and labels, and the share of
    infinite ones, from 0 to 1; None where there is no distance."""
    known = sorted(
        x
        for i in images
        for k in labels
        if not math.isnan(x := float(counts["surface_hd95"][i, k]))
    )
    if not known:
        return None, None
    return known[len(known) // 2], sum(map(math.isinf, known)) / len(known)


def slow_draws(cases):
    names = sorted(set(cases))
    for row in np.random.default_rng(0).integers(0, len(names), (2000, len(names))):
        yield [i for p in row for i, case in enumerate(cases) if case == names[p]]


def slow_resamples(counts, draws, images, labels, score):
    """Return the score in each resample, None for those that have none; none at all from the scores
    of one patient.
    """
    known = image_scores(counts, score)
    if (
        len({counts["cases"][i] for i in images if any(known[i, k] is not None for k in labels)})
        < 2
    ):
        return [None] * len(draws)
    return [slow_mean(known, [i for i in draw if i in images], labels) for draw in draws]


def slow_interval(values):
    values = [value for value in values if value is not None]
    return np.percentile(values, [2.5, 97.5]) if values else (None, None)
