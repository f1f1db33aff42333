"""What was accepted in a review, as a source of `importing.common.import_dataset`."""

import os
from collections import Counter
from collections.abc import Callable, Sequence

from paxray_lib.images.image import MAX_BYTES
from paxray_lib.importing.common import Item, Opened, Source
from paxray_lib.review.decisions import VERDICTS, read_review
from paxray_lib.review.films import Film
from paxray_lib.utils import read_bytes


def accepted_source(films: Sequence[Film], folder: str | os.PathLike) -> Source:
    """Return the films that the review in a folder accepts; the others are counted in a note.

    Raises
    ------
    ValueError
        If none is accepted, or the review is one of other films.
    """
    decisions = read_review(folder)
    own = {film.name: film for film in films}
    if strangers := [name for name in decisions if name not in own]:
        raise ValueError(f"{folder}: its review is of {strangers[0]!r:.200}, not among these films")
    accepted = [film for film in films if film.name in decisions]
    accepted = [film for film in accepted if decisions[film.name].verdict == "accept"]
    if not accepted:
        raise ValueError(f"{folder}: of {len(films)} films none was accepted; review them first")
    counts = Counter(decision.verdict for decision in decisions.values())
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)
    note = f"{len(decisions)} of {len(films)} films reviewed: {said}"
    items = [Item(film.name, film.split, _opener(film)) for film in accepted]
    return Source(accepted[0].labels, items, notes=(note,))


def _opener(film: Film) -> Callable[[], Opened]:
    def open_film() -> Opened:
        content = read_bytes(film.masks, MAX_BYTES)
        return Opened(film.image, (content, repr(film.known).encode()), lambda _: film.read())

    return open_film
