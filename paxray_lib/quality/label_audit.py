"""Do the names of the labels fit their masks? Rules that hold for every patient, tested on the data
at hand.

Four kinds of rules say how two labels lie to each other (see `rules`); each is counted over the
images of the data set:

    in        the child's pixels lie in its parent (the label tree); any view
    left of   the patient's left is on the right of the image: centroids of a left label against its
    partner on the
              right and against the spine; frontal only
    below     ribs by number, vertebrae from c1 down, lower lobe below upper lobe, ...: centroids;
    any view before    the posterior mediastinum is nearer to the spine than the middle one, a rib's
    back nearer than its front:
              distances of the centroids from that of the spine; lateral only

A rule that most images break says that names are exchanged. `suggest_names` then looks for the
exchange of names that mends most rules, one after the other, so that a shifted block of names is
found as well.

What this cannot find: exchanges between labels whose rules are the same (the two
`mediastinum_upper`; `heart` and `mediastinum_lower`; a lung's vessels and its lower lobe),
exchanges with a label that never occurs, positions in views with fewer than `ENOUGH` images, an
image that was mirrored together with its masks in a lateral view, an image that was mirrored while
its masks were not, and masks that belong to another patient (see `explore.unusual_table` for
those)."""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from paxray_lib.labels.table import LabelSet, tree_pairs
from paxray_lib.quality.anatomy_rules import BROKEN, Naming, gather_evidence, rules
from paxray_lib.quality.survey import Finding, Survey

# a label that lacks its whole in more than this part of its images is an error
WITHOUT_PARENT = 0.05
# part of the pairs of sides that must be the wrong way round before an image counts as mirrored
MIRRORED = 0.9

# -- tables


def tree_table(survey: Survey) -> pd.DataFrame:
    """Return one row for each child and parent: images in which each occurs, images with the child
    and without the parent, and the part of the child's pixels outside the parent in percent (NaN
    where the child never occurs)."""
    pairs = np.array(tree_pairs(survey.labels), int).reshape(-1, 2)
    child, parent = pairs.T
    present = survey.areas > 0
    pixels = survey.areas.sum(axis=0)[child]
    return pd.DataFrame(
        {
            "child": _titles(survey.labels, child),
            "parent": _titles(survey.labels, parent),
            "images": present.sum(axis=0)[child],
            "parent_images": present.sum(axis=0)[parent],
            "without_parent": (present[:, child] & ~present[:, parent]).sum(axis=0),
            "outside_images": (survey.outside > 0).sum(axis=0),
            "outside_percent": 100
            * survey.outside.sum(axis=0)
            / np.where(pixels > 0, pixels, np.nan),
        }
    )


def rule_table(survey: Survey) -> pd.DataFrame:
    """Return one row a rule on positions: first, kind, second, images with both labels, and in how
    many percent of them it holds (NaN where no image, or too few, can tell)."""
    evidence = gather_evidence(survey)
    rows = []
    for rule in rules(survey.labels):
        if rule.kind != "in":
            place = (rule.first, rule.second)
            titles = _titles(survey.labels, place)
            holds = 100 * evidence.holds[rule.kind][place]
            rows.append((titles[0], rule.kind, titles[1], evidence.images[rule.kind][place], holds))
    return pd.DataFrame(rows, columns=["first", "kind", "second", "images", "holds_percent"])


def _titles(labels: LabelSet, indices: Iterable[int]) -> list[str]:
    return [f"{labels.names[i]} ({i})" for i in indices]


def suggest_names(survey: Survey) -> pd.DataFrame:
    """Return one row for each label that seems to bear the name of another: index, name, fits
    (name), fits_index, and `broken` and `mended`, the number of rules of that mask that are broken
    with its name and with the other.

    Names are exchanged in pairs, each time the pair that mends most, as long as rules are mended.
    """
    naming, same = Naming(survey.labels, gather_evidence(survey)), np.arange(len(survey.labels))
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


# -- findings


def audit(survey: Survey) -> list[Finding]:
    """Return what the rules find: labels out of parent or place, exchanged names, mirrored images,
    duplicates.
    """
    return [
        *_never(survey),
        *_tree_findings(survey),
        *_position_findings(survey),
        *_name_findings(survey),
        *_mirrored_findings(survey),
        *_duplicate_findings(survey),
    ]


def _never(survey: Survey) -> Iterator[Finding]:
    never = _titles(survey.labels, np.flatnonzero(~survey.areas.any(axis=0)))
    if never and survey.images["masks"].any():
        yield Finding("warning", "labels", f"{len(never)} never occur: {', '.join(never)}")


def _tree_findings(survey: Survey) -> Iterator[Finding]:
    total = int(survey.images["masks"].sum())
    for row in tree_table(survey).itertuples():
        if not row.outside_images:
            continue
        if not row.parent_images:  # as `paxray project` leaves it where the whole cannot be derived
            yield Finding("warning", row.child, f"its parent {row.parent} never occurs")
            continue
        lost = row.without_parent > WITHOUT_PARENT * row.images
        message = (
            f"{row.outside_percent / 100:.1%} of its pixels lie outside its parent {row.parent}, "
            f"in {row.outside_images} of {total} images"
        )
        if row.without_parent:
            message += (
                f"; it occurs in {row.images} images, the parent in {row.parent_images}, "
                f"and in {row.without_parent} without the parent"
            )
        yield Finding(
            "error" if row.outside_percent > 100 * (1 - BROKEN["in"]) or lost else "warning",
            row.child,
            message,
        )


_SAID = {
    "left of": "is not on the left of {} (in the image: right of it)",
    "below": "is not below {}",
    "before": "is not farther from the spine than {}",
}


def _position_findings(survey: Survey) -> Iterator[Finding]:
    table = rule_table(survey)
    for row in table[table["holds_percent"] < 100 * table["kind"].map(BROKEN)].itertuples():
        share = f"in {100 - row.holds_percent:.0f} % of {row.images} images"
        yield Finding(
            "error",
            row.first,
            f"{_SAID[row.kind].format(row.second)} {share}; exchanged names or sides?",
        )


def _name_findings(survey: Survey) -> Iterator[Finding]:
    table = suggest_names(survey)
    if table.empty:
        return
    said = [
        f"{row.name} ({row.index}) fits the name {row.fits}"
        for row in table.itertuples(index=False)
    ]
    more = f"; and {len(said) - 8} more (see notebook 1)" if len(said) > 8 else ""
    moved = set(table["fits_index"] - table["index"])
    shift = f"; all are moved by {moved.pop():+d}" if len(moved) == 1 else ""
    message = f"{len(said)} names seem to be exchanged: {'; '.join(said[:8])}{more}{shift}"
    yield Finding("error", "labels", message)


def side_table(survey: Survey) -> pd.DataFrame:
    """Return one row a frontal image with masks: its pairs of a left and a right label, and how
    many of them lie the wrong way round, in an image that shows the patient's left on its right."""
    pairs = [(r.first, r.second) for r in rules(survey.labels) if r.kind == "left of"]
    left, right = (
        np.array([p for p in pairs if survey.labels.mirror[p[0]] == p[1]], int).reshape(-1, 2).T
    )
    chosen = survey.of_view("frontal")
    apart = survey.columns[chosen][:, left] - survey.columns[chosen][:, right]  # (n, pairs)
    table = survey.images.loc[chosen, ["split", "image"]].reset_index(drop=True)
    return table.assign(pairs=(~np.isnan(apart)).sum(axis=1), reversed=(apart < 0).sum(axis=1))


def _mirrored_findings(survey: Survey) -> Iterator[Finding]:
    table = side_table(survey)
    wrong = (table["pairs"] > 0) & (table["reversed"] >= MIRRORED * table["pairs"])
    for row in table[wrong].itertuples():
        found = f"{row.reversed} of {row.pairs} pairs of left and right labels lie the wrong way round; mirrored?"
        yield Finding("error", row.image, found)


def duplicate_table(survey: Survey) -> pd.DataFrame:
    """Return one row for each group of files with the same pixels: of ("images" or "masks"),
    splits, and files; a file that is merely listed twice is no group."""
    rows = []
    for kind, column, name in (("images", "image_hash", "image"), ("masks", "mask_hash", "target")):
        for _, group in survey.images.dropna(subset=[column]).groupby(column, sort=False):
            files = list(dict.fromkeys(group[name]))
            if len(files) > 1:
                rows.append((kind, tuple(dict.fromkeys(group["split"])), tuple(files)))
    return pd.DataFrame(rows, columns=["of", "splits", "files"])


def _duplicate_findings(survey: Survey) -> Iterator[Finding]:
    for row in duplicate_table(survey).itertuples():
        across = len(row.splits) > 1
        found = (
            f"the same {'pixels' if row.of == 'images' else 'masks'} as {', '.join(row.files[1:4])}"
        )
        found += (
            f", in the splits {' and '.join(row.splits)}" if across else f", in {row.splits[0]}"
        )
        yield Finding("error" if across else "warning", row.files[0], found)
