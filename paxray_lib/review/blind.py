"""A blind review: the order is random, and nothing tells where masks are from.

Truth and prediction, or those of models A and B, get numbers for names. Which number is which
stands in a key, a file apart from the review; `unblind` puts both together at the end.
"""

import json
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from paxray_lib.review.decisions import read_review
from paxray_lib.review.films import Film
from paxray_lib.utils import naming_errors, parse_json, read_bytes, write_text

_MAX_BYTES = 64 << 20


def numbered(
    names: Mapping[str, Sequence[str]], key: str | os.PathLike, seed: int = 0
) -> dict[str, tuple[str, str]]:
    """Return source and name of all films by number, in random order; the key is written.

    Parameters
    ----------
    names : of the films of each source: {"truth": ..., "model A": ...}
    key : JSON file to write; the reviewer does not look at it. If it is there, it must be that of
        these films and this seed, so that a review goes on as it began
    seed : the same films and seed give the same order

    Raises
    ------
    ValueError
        If `key` is of other films or another seed, or there is no film.
    """
    # by a generator that is the same everywhere, from an order that no folder has a part in
    pairs = sorted((source, name) for source, listed in names.items() for name in listed)
    if not pairs:
        raise ValueError("no film to review; the sources are empty")
    random.Random(seed).shuffle(pairs)
    digits = len(str(len(pairs)))
    films = {f"{n:0{digits}}": pair for n, pair in enumerate(pairs, 1)}
    rows = {number: {"source": source, "image": name} for number, (source, name) in films.items()}
    path, content = Path(key), {"seed": seed, "films": rows}
    if os.path.lexists(path):
        if parse_json(read_bytes(path, _MAX_BYTES), path) != content:
            raise ValueError(
                f"{path}: is the key of other films or of another seed; use another file"
            )
    else:
        write_text(path, json.dumps(content, indent=1))
    return films


def blinded(
    sources: Mapping[str, Sequence[Film]], key: str | os.PathLike, seed: int = 0
) -> dict[str, Film]:
    """Return all films of several sources by number, in random order, as `numbered` does.

    `sources` is {"truth": ..., "model A": ...}, from `predicted_films` or `listed_films`.
    """
    names = {source: [film.name for film in films] for source, films in sources.items()}
    own = {(source, film.name): film for source, films in sources.items() for film in films}
    return {number: own[pair] for number, pair in numbered(names, key, seed).items()}


def unblind(folder: str | os.PathLike, key: str | os.PathLike) -> pd.DataFrame:
    """Return the decisions of a blind review with what they are on.

    The columns are image, source, verdict, note, reviewer, time; sorted by image and source.

    Raises
    ------
    FileNotFoundError, ValueError
        If the key is missing or damaged, or a decision is on a number that it lacks.
    """
    decisions, path = read_review(folder), Path(key)
    content = parse_json(read_bytes(path, _MAX_BYTES), path)
    with naming_errors(path, "not the key of a blind review", "use the one that `blinded` wrote"):
        films = {n: (str(row["image"]), str(row["source"])) for n, row in content["films"].items()}
    if strangers := [number for number in decisions if number not in films]:
        raise ValueError(f"{path}: has no film {strangers[0]!r:.80}; is it the key of {folder}?")
    columns = ["image", "source", "verdict", "note", "reviewer", "time"]
    rows = [(*films[number], *vars(decision).values()) for number, decision in decisions.items()]
    return pd.DataFrame(sorted(rows), columns=columns)
