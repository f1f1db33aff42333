"""Where the viewer's images come from, if they are those of two models: two folders of masks."""

import os
from pathlib import Path

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.images import read_image
from paxray_lib.labels import LabelSet
from paxray_lib.labels.matching import unite
from paxray_lib.masks import PackedMasks
from paxray_lib.viewer.outputs import find_masks, report_scores
from paxray_lib.viewer.scene import Scene
from paxray_lib.viewer.sources import Source, TwoFolders, films_of
from paxray_lib.viewer.uniting import first_labels, onto, own_masks
from paxray_lib.viz.overlay import as_pixels


def from_two_models(
    images: PaxrayDataset | str | os.PathLike,
    folders: TwoFolders,
    names: tuple[str, str] | None = None,
    labels: LabelSet | None = None,
) -> Source:
    """Return the source of images of which either model has masks, those of a data set or a folder.

    The labels are united by name. `names` is what to call the models, by default their folders.
    ValueError or FileNotFoundError if a folder has masks of none of the images.
    """
    root, paths, own, views = films_of(images)
    found = [find_masks(folder, root, paths, f"{root} ({len(paths)})") for folder in folders]
    kept = [k for k, files in enumerate(zip(*found, strict=True)) if any(files)]
    files = [[each[k] for k in kept] for each in found]
    known = unite(first_labels(each, labels) for each in files)
    check_names(models := names or _names(folders))

    def masks_of(path: Path | None) -> PackedMasks | None:
        return None if path is None else onto(own_masks(path, labels), known, path)

    def load(index: int) -> Scene:
        image, (first, second) = (
            read_image(root / paths[kept[index]]),
            (each[index] for each in files),
        )
        pixels, spacing, view = as_pixels(image), image.spacing_mm, views[kept[index]]
        return Scene(own[kept[index]], pixels, masks_of(first), masks_of(second), view, spacing)

    columns = {
        f"{column} of {model}": values
        for model, folder, each in zip(models, folders, files, strict=True)
        for column, values in report_scores(folder, each).items()
    }
    return Source(
        known,
        [own[k] for k in kept],
        [views[k] for k in kept],
        load,
        scores=columns,
        ranks=("disagreement",),
        path_of=lambda index: root / paths[kept[index]],
        roles=[
            tuple(model for model, path in zip(models, pair, strict=True) if path)
            for pair in zip(*files, strict=True)
        ],
        models=models,
    )


def check_names(names: tuple[str, ...]) -> None:
    """Raise ValueError unless these are two names that tell two models apart."""
    if isinstance(names, str) or len(names) != 2 or not all(names) or names[0] == names[1]:
        raise ValueError(f"names {names!r}: two different ones are needed, of masks and prediction")


def _names(folders: TwoFolders) -> tuple[str, str]:
    """Return what to call two models: their folders, by the last part if that tells them apart."""
    first, second = (Path(folder).resolve() for folder in folders)
    if first == second:
        raise ValueError(f"{first}: two folders of predictions are needed, this is one")
    if first.name != second.name:
        return first.name, second.name
    return str(first), str(second)
