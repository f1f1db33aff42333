"""Images with masks to review: what `predict` wrote, or a data set."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from paxray_lib.data.datafile import read_datafile
from paxray_lib.importing.names import item_name
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.measurement.tables import predicted_labels
from paxray_lib.prediction.pipeline import REPORT
from paxray_lib.prediction.predict import FORMATS, read_settings
from paxray_lib.utils import check_file, inside, read_table
from paxray_lib.utils.manifest import read_manifest


@dataclass(frozen=True)
class Film:
    """An image and its masks.

    Attributes
    ----------
    name : without a suffix, as in "deep/a"
    image, masks : files
    labels : of the masks
    split : of a data set, else None
    known : indices of the labels that are annotated; None: all
    """

    name: str
    image: Path
    masks: Path
    labels: LabelSet
    split: str | None = None
    known: tuple[int, ...] | None = None

    def read(self) -> PackedMasks:
        """Read the masks; errors as of `PackedMasks.read`."""
        masks = PackedMasks.read(self.masks, self.labels)
        if self.known is None:
            return masks
        known = masks.known & False
        known[list(self.known)] = True
        return masks.knowing(known)


def predicted_films(out: str | os.PathLike) -> list[Film]:
    """Return the films of a folder of predictions that have masks, in the order of its report.

    The images are found from any working folder: the manifest has them relative to the folder.

    Raises FileNotFoundError or ValueError if it is no such folder.
    """
    out = Path(out)
    labels, suffix = predicted_labels(out), FORMATS.get(str(read_settings(out).get("format")), "")
    check_file(out / REPORT)
    report = read_table(out / REPORT, as_text=True)
    if missing := {"file", "output"} - set(report.columns):
        raise ValueError(f"{out / REPORT}: no column {', '.join(sorted(missing))}; predict again")
    made_from = {output: [*entry["sources"]] for output, entry in read_manifest(out).items()}
    rows = []
    for row in report.itertuples():
        if row.output:
            sources = [os.path.normpath(out / source) for source in made_from.get(row.output, ())]
            rows.append((Path(sources[0] if len(sources) == 1 else row.file), row.output))
    return [
        Film(output.removesuffix(suffix), file, inside(out, output), labels)
        for file, output in rows
    ]


def listed_films(
    data_root: str | os.PathLike, datafile: str | os.PathLike = "paxray.json"
) -> list[Film]:
    """Return the images of a data set that have masks, with their splits, as `read_datafile`.

    Raises ValueError, too, if two images have one name.
    """
    data = read_datafile(data_root, datafile)
    films = []
    for split, entries in data.splits.items():
        for entry in entries:
            if (target := data.target_path(entry)) is not None:
                known = data.known(entry)
                indices = None if known.all() else tuple(known.nonzero()[0].tolist())
                image = data.root / entry.image
                name = item_name(entry.image.removeprefix("images/"))
                films.append(Film(name, image, target, data.labels, split, indices))
    twice = [name for name, count in Counter(film.name for film in films).items() if count > 1]
    if twice:
        raise ValueError(f"{data.path}: two images have the name {twice[0]!r}; list it once")
    return films
