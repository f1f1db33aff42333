"""Whether the names of labels fit their masks: the rules of `anatomy_rules` on the data at hand.

A rule that most images break says that names are exchanged. `suggest_names` then looks for the
exchange of names that mends most rules, one after the other, so that a shifted block of names is
found as well.

What this cannot find: exchanges between labels whose rules are the same (the two
`mediastinum_upper`; `heart` and `mediastinum_lower`; a lung's vessels and its lower lobe),
exchanges with a label that never occurs, positions in views with fewer than `ENOUGH` images, an
image that was mirrored together with its masks in a lateral view, an image that was mirrored while
its masks were not, and masks that belong to another patient (see `statistics.unusual_table` for
those).
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from paxray_lib.labels.table import tree_pairs
from paxray_lib.quality.anatomy_rules import BROKEN, Naming, gather_evidence, rules
from paxray_lib.quality.survey import Finding, Survey

# both chosen by eye:
# a label that lacks its whole in more than this part of its images is an error
WITHOUT_PARENT = 0.05
# part of the pairs of sides that must be the wrong way round before an image counts as mirrored
MIRRORED = 0.9

# -- tables


def tree_table(survey: Survey) -> pd.DataFrame:
    """Return one row per child and parent of the label tree.

    Columns: child, parent, images and parent_images (in which each occurs), without_parent (images
    with the child and without the parent), outside_images, and outside_percent: the part of the
    child's pixels outside the parent (NaN where the child never occurs). All but the first two
    counts are of images in which the parent is known.
    """
    child, parent = np.array(tree_pairs(survey.labels), int).reshape(-1, 2).T
    present = survey.areas > 0
    pixels = survey.possible()[child, parent]
    outside = survey.outside.sum(axis=0)
    return pd.DataFrame(
        {
            "child": survey.titles[child],
            "parent": survey.titles[parent],
            "images": present.sum(axis=0)[child],
            "parent_images": present.sum(axis=0)[parent],
            "without_parent": (present[:, child] & (survey.known & ~present)[:, parent]).sum(
                axis=0
            ),
            "outside_images": (survey.outside > 0).sum(axis=0),
            "outside_percent": 100 * outside / np.where(pixels > 0, pixels, np.nan),
        }
    )


def rule_table(survey: Survey) -> pd.DataFrame:
    """Return one row per rule on positions: first, kind, second, images, holds_percent.

    `images` counts those with both labels, `holds_percent` those of them in which the rule holds
    (NaN where no image, or too few, can tell).
    """
    (holds, images), titles = gather_evidence(survey), survey.titles
    rows = [
        (titles[i], kind, titles[j], images[kind][i, j], 100 * holds[kind][i, j])
        for kind, i, j in rules(survey.labels)
        if kind != "in"
    ]
    return pd.DataFrame(rows, columns=["first", "kind", "second", "images", "holds_percent"])


def suggest_names(survey: Survey) -> pd.DataFrame:
    """Return one row per label that seems to bear the name of another.

    Columns: index, name, fits (a name), fits_index, and `broken` and `mended`: the number of rules
    of that mask that are broken with its name and with the other. Names are exchanged in pairs,
    each time the pair that mends most, as long as rules are mended.
    """
    naming, same = Naming(survey), np.arange(len(survey.labels))
    channel = naming.solve()
    fits = np.argsort(channel)  # (L,) the name that each mask should have
    before, after = (
        np.bincount(naming.broken(c).ravel(), minlength=len(same)) for c in (same, channel)
    )
    names = survey.labels.names
    rows = [
        (i, names[i], names[fits[i]], fits[i], before[i], after[fits[i]])
        for i in np.flatnonzero(fits != same)
    ]
    return pd.DataFrame(rows, columns=["index", "name", "fits", "fits_index", "broken", "mended"])


def side_table(survey: Survey) -> pd.DataFrame:
    """Return one row per frontal image with masks: split, image, pairs, reversed.

    `pairs` counts the pairs of a left and a right label, `reversed` those that lie the wrong way
    round in an image that shows the patient's left on its right.
    """
    side, mirror = np.array(survey.labels.side), survey.labels.mirror
    left = np.flatnonzero((side == "left") & (mirror != np.arange(len(mirror))))
    chosen = survey.of_view("frontal")
    apart = survey.columns[chosen][:, left] - survey.columns[chosen][:, mirror[left]]  # (n, pairs)
    table = survey.images.loc[chosen, ["split", "image"]].reset_index(drop=True)
    return table.assign(pairs=(~np.isnan(apart)).sum(axis=1), reversed=(apart < 0).sum(axis=1))


def duplicate_table(survey: Survey) -> pd.DataFrame:
    """Return one row per group of files with the same pixels: of, splits, files.

    `of` is "images" or "masks". A file that is merely listed twice is no group.
    """
    rows = []
    for kind, column, name in (("images", "image_hash", "image"), ("masks", "mask_hash", "target")):
        for _, group in survey.images.dropna(subset=[column]).groupby(column, sort=False):
            if group[name].nunique() > 1:
                rows.append((kind, tuple(group["split"].unique()), tuple(group[name].unique())))
    return pd.DataFrame(rows, columns=["of", "splits", "files"])


# -- findings


def audit(survey: Survey) -> list[Finding]:
    """Return what the rules find.

    Labels that never occur, that are out of their parent or place, or bear another's name; images
    that are mirrored or duplicates.
    """
    absent = survey.titles[survey.known.any(axis=0) & ~survey.areas.any(axis=0)]
    never = Finding("warning", "labels", f"{len(absent)} never occur: {', '.join(absent)}")
    return [
        *([never] if len(absent) and survey.images["masks"].any() else []),
        *_broken_tree(survey),
        *_broken_positions(survey),
        *_exchanged_names(survey),
        *_mirrored_images(survey),
        *_duplicates(survey),
    ]


def _broken_tree(survey: Survey) -> Iterator[Finding]:
    total = int(survey.images["masks"].sum())
    table = tree_table(survey)
    for row in table[table["outside_images"] > 0].itertuples():
        message = (
            f"{row.outside_percent / 100:.1%} of its pixels lie outside its parent {row.parent}, "
            f"in {row.outside_images} of {total} images"
        )
        if row.without_parent:
            message += (
                f"; it occurs in {row.images} images, the parent in {row.parent_images}, "
                f"and in {row.without_parent} without the parent"
            )
        broken = row.outside_percent > 100 * (1 - BROKEN["in"])
        alone = row.without_parent > WITHOUT_PARENT * row.images
        yield Finding("error" if broken or alone else "warning", row.child, message)


_BROKEN_RULES = {
    "left of": "is not on the left of {} (in the image: right of it)",
    "below": "is not below {}",
    "before": "is not farther from the spine than {}",
}


def _broken_positions(survey: Survey) -> Iterator[Finding]:
    table = rule_table(survey)
    for row in table[table["holds_percent"] < 100 * table["kind"].map(BROKEN)].itertuples():
        message = (
            f"{_BROKEN_RULES[row.kind].format(row.second)} in {100 - row.holds_percent:.0f} % "
            f"of {row.images} images; exchanged names or sides?"
        )
        yield Finding("error", row.first, message)


def _exchanged_names(survey: Survey) -> Iterator[Finding]:
    table = suggest_names(survey)
    if table.empty:
        return
    names = [
        f"{row.name} ({row.index}) fits the name {row.fits}" for row in table[:8].itertuples(False)
    ]
    message = f"{len(table)} names seem to be exchanged: {'; '.join(names)}"
    if len(table) > len(names):
        message += f"; and {len(table) - len(names)} more (see notebook 1)"
    shifts = set(table["fits_index"] - table["index"])
    if len(shifts) == 1:
        message += f"; all are moved by {shifts.pop():+d}"
    yield Finding("error", "labels", message)


def _mirrored_images(survey: Survey) -> Iterator[Finding]:
    table = side_table(survey)
    mirrored = (table["pairs"] > 0) & (table["reversed"] >= MIRRORED * table["pairs"])
    for row in table[mirrored].itertuples():
        yield Finding(
            "error",
            row.image,
            f"{row.reversed} of {row.pairs} pairs of left and right labels lie the wrong way "
            "round; mirrored?",
        )


def _duplicates(survey: Survey) -> Iterator[Finding]:
    for row in duplicate_table(survey).itertuples():
        first, *others = row.files
        kind = "pixels" if row.of == "images" else "masks"
        across = len(row.splits) > 1
        splits = f"in the splits {' and '.join(row.splits)}" if across else f"in {row.splits[0]}"
        message = f"the same {kind} as {', '.join(others[:3])}, {splits}"
        yield Finding("error" if across else "warning", first, message)
