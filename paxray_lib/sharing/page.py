"""Films and their masks with the viewer, as one page that opens without a network."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image as PilImage

from paxray_lib.images.files import find_images
from paxray_lib.labels import LabelSet
from paxray_lib.utils import progress, write_text
from paxray_lib.viewer.assets import label_table
from paxray_lib.viewer.offline_page import as_text, page_of_all
from paxray_lib.viewer.scene import Scene
from paxray_lib.viewer.sources import HIGHEST, Source, from_folder
from paxray_lib.viz.overlay import ALPHA

#: Pixels: the longest side of films in a page, by default.
SIZE = 1024
#: Films in a page: as many as the viewer keeps.
MOST_FILMS = 256
#: A page beyond is slow to open, and too large to send.
MOST_BYTES = 100_000_000
_TEMPLATE = jinja2.Template(
    Path(__file__).with_suffix(".html").read_text(encoding="utf-8"), autoescape=True
)
_STYLE: dict[str, Any] = {"alpha": ALPHA, "outline": 1, "dashed": False, "window": [0, 255]}
#: Values of the traits of a viewer that nobody has touched; others have no defaults.
TRAITS: dict[str, Any] = {
    **_STYLE,
    "mode": "both",
    "heat_label": "",
    "thresholds": {},
    "names": [],
    "visible": [],
    "position": 0,
    "view_filter": "",
    "sort_by": "",
    "_editable": False,
}


@dataclass(frozen=True)
class Page:
    """What was written.

    Attributes
    ----------
    films : number of films in the page
    problems : why others are not
    bytes : size of the page
    """

    films: int
    problems: list[str]
    bytes: int


def export_page(
    images: str | os.PathLike,
    out: str | os.PathLike,
    *,
    masks: str | os.PathLike | None = None,
    labels: list[str] | None = None,
    size: int = SIZE,
) -> Page:
    """Write films and masks as one page; a film that cannot be read is a problem of the result.

    Parameters
    ----------
    images : a film, or a folder with everything below it
    out : the page, whose name ends in .html
    masks : folder with what `predict` wrote; by default the open model predicts them now
    labels : names, groups and patterns of those in the page, which are shown when it opens; by
        default all, and lungs and heart are shown
    size : longest side in pixels; larger films and their masks are reduced to it

    Raises
    ------
    FileNotFoundError, ValueError
        If there are no films, or no masks for any of them, a label is unknown, the page would have
        more than `MOST_FILMS` films or `MOST_BYTES` bytes, or `out` has another suffix.
    """
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{out}: a page is written under a name that ends in .html")
    with tempfile.TemporaryDirectory() as folder:
        problems = [] if masks else _predict(images, folder, labels)
        source = _chosen(from_folder(images, masks or folder), labels)
        if masks:
            problems += _without_masks(images, masks, source)
        if len(source.names) > MOST_FILMS:
            raise ValueError(
                f"{images}: {len(source.names)} films, but a page has at most {MOST_FILMS}; "
                "make several, each of a part of the folder"
            )
        texts = _read(source, size, problems)
        text = _compose(source, texts, Path(images).absolute().name, labels)
    write_text(out, text)
    return Page(len(texts), problems, out.stat().st_size)


def _predict(
    images: str | os.PathLike, out: str | os.PathLike, labels: list[str] | None
) -> list[str]:
    """Write masks of the open model into a folder; return why some films have none."""
    from paxray_lib import predict

    report = predict("open", images, out, labels=labels)
    return report.loc[report["status"] == "failed", "reason"].tolist()


def _without_masks(
    images: str | os.PathLike, masks: str | os.PathLike, source: Source
) -> list[str]:
    """Return what is said of films that a folder has no masks of."""
    have = {source.path_of(index) for index in range(len(source.names))}
    return [f"{path}: no masks in {masks}" for path in find_images(images) if path not in have]


def _chosen(source: Source, labels: list[str] | None) -> Source:
    """Return a source of some of its labels."""
    if not labels:
        return source
    indices = source.labels.select(labels)
    names = LabelSet(source.labels.names[i] for i in indices)

    def load(index: int) -> Scene:
        scene = source.load(index)
        prediction = scene.prediction and scene.prediction.select(indices)
        found = scene.probabilities
        if found and not {*found.labels.names} <= {*names.names}:
            found = None
        return replace(scene, prediction=prediction, probabilities=found)

    return replace(source, labels=names, load=load)


def _read(source: Source, size: int, problems: list[str]) -> dict[int, str]:
    """Return what the page gets of films, by their positions in the source; add to problems."""
    texts: dict[int, str] = {}
    room = MOST_BYTES
    for index in progress(range(len(source.names)), "films"):
        try:
            text = as_text(_message(len(texts), source.load(index), size))
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        texts[index] = text
        room -= len(text)
        if room < 0:
            raise ValueError(
                f"the page has more than {MOST_BYTES // 10**6} MB with {len(texts)} of "
                f"{len(source.names)} films; make several of parts of the folder, name fewer "
                f"labels (--labels), or a smaller --size than {size}"
            )
    if not texts:
        raise ValueError(f"none of the films can be shown: {problems[0]}")
    return texts


def _compose(source: Source, texts: Mapping[int, str], title: str, labels: list[str] | None) -> str:
    """Return the page of films."""
    first = source.load(next(iter(texts)))
    selected = source.choose(labels or None, first.prediction)
    scores = {name: [values[i] for i in texts] for name, values in source.scores.items()}
    traits = {
        **TRAITS,
        "selected": selected,
        "_labels": label_table(source.labels),
        "_items": {
            "names": [source.names[i] for i in texts],
            "views": [source.views[i] for i in texts],
            "scores": scores,
            "ranks": [],
            "highest": list(HIGHEST),
        },
    }
    indices = sorted({i for name in selected for i in source.labels.index(name)})
    drawn = first.draw(indices, mode="both", heat=("", {}), **_STYLE)
    caption = f"{first.name}: {', '.join(selected)}"
    figure = PilImage.fromarray(drawn)
    viewer = Markup(page_of_all(traits, texts.values(), figure, caption))
    return _TEMPLATE.render(title=title, films=len(texts), viewer=viewer)


def _message(index: int, scene: Scene, size: int) -> Mapping[str, Any]:
    """Return what the page gets of a film."""
    height, width = scene.pixels.shape[:2]
    note = ""
    if max(height, width) > size:
        scene = scene.reduced(size / max(height, width))
        small = " x ".join(map(str, scene.pixels.shape[1::-1]))
        note = f"Reduced to {small} pixels for this page, from {width} x {height}. "
    return {"index": index, **scene.to_message(), "note": note}
