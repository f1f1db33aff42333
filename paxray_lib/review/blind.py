"""A blind review: the order is random, and nothing tells where masks are from.

Truth and prediction, or those of models A and B, get numbers for names; or both are seen side by
side, and which of them is on the left is random. Which is which stands in a key, a file apart from
the review; `unblind` puts both together at the end.
"""

import json
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from paxray_lib.review.decisions import PREFERENCES, read_review
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
    random.Random(seed).shuffle(pairs)
    rows = [{"source": source, "image": name} for source, name in pairs]
    return dict(zip(_keep_key(rows, key, seed), pairs, strict=True))


def paired(
    names: Sequence[str], models: tuple[str, str], key: str | os.PathLike, seed: int = 0
) -> dict[str, tuple[str, str, str]]:
    """Return name, left model and right model of all films by number; the key is written.

    The order is random, and so is which of the two models is on the left: each on half of the
    films. `key`, `seed` and errors are those of `numbered`.
    """
    if "equal" in models:  # as `unblind` calls those of which none is better
        raise ValueError("a model called 'equal': give it another name")
    listed, chance = sorted(names), random.Random(seed)
    chance.shuffle(listed)
    sides = [models if k % 2 else models[::-1] for k in range(len(listed))]
    chance.shuffle(sides)
    films = [(name, left, right) for name, (left, right) in zip(listed, sides, strict=True)]
    rows = [dict(zip(("image", "left", "right"), film, strict=True)) for film in films]
    return dict(zip(_keep_key(rows, key, seed), films, strict=True))


def _keep_key(rows: list[dict[str, str]], key: str | os.PathLike, seed: int) -> list[str]:
    """Return the numbers of films; what each is goes to the key, or must be what that says."""
    if not rows:
        raise ValueError("no film to review; the sources are empty")
    numbers = [f"{n:0{len(str(len(rows)))}}" for n in range(1, len(rows) + 1)]
    path, content = Path(key), {"seed": seed, "films": dict(zip(numbers, rows, strict=True))}
    if os.path.lexists(path):
        if parse_json(read_bytes(path, _MAX_BYTES), path) != content:
            raise ValueError(
                f"{path}: is the key of other films or of another seed; use another file"
            )
    else:
        write_text(path, json.dumps(content, indent=1))
    return numbers


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

    The columns are image, source, verdict, note, reviewer, time; sorted by image and source. Of two
    models side by side (`paired`) it is not the source but which of them is preferred, or "equal".

    Raises
    ------
    FileNotFoundError, ValueError
        If the key is missing or damaged, or a decision is on a number that it lacks.
    """
    decisions, films = read_review(folder), _read_key(key)
    if strangers := [number for number in decisions if number not in films]:
        raise ValueError(f"{key}: has no film {strangers[0]!r:.80}; is it the key of {folder}?")
    is_pair = any("left" in film for film in films.values())
    rows = []
    for number, decision in decisions.items():
        film = films[number]
        if (decision.verdict in PREFERENCES) != is_pair:
            raise ValueError(f"{folder}: says {decision.verdict} of {number}; is {key} its key?")
        source = film.get(decision.verdict, "equal") if is_pair else film["source"]
        rows.append((film["image"], source, *vars(decision).values()))
    named = "preferred" if is_pair else "source"
    columns = ["image", named, "verdict", "note", "reviewer", "time"]
    return pd.DataFrame(sorted(rows), columns=columns)


def preferences(folder: str | os.PathLike, key: str | os.PathLike) -> pd.DataFrame:
    """Return how often each of two models was preferred: the columns preferred and films.

    The last row are those that are equal. Errors are those of `unblind`, and a ValueError if masks
    were looked at one by one.
    """
    table = unblind(folder, key)
    if "preferred" not in table:
        raise ValueError(f"{key}: is of masks one by one, not of two models side by side")
    models = {film[side] for film in _read_key(key).values() for side in ("left", "right")}
    counted = table["preferred"].value_counts().reindex([*sorted(models), "equal"], fill_value=0)
    return counted.rename_axis("preferred").reset_index(name="films")


def _read_key(key: str | os.PathLike) -> dict[str, dict[str, str]]:
    path = Path(key)
    content = parse_json(read_bytes(path, _MAX_BYTES), path)
    with naming_errors(path, "not the key of a blind review", "use the one that `blinded` wrote"):
        films = {}
        for number, row in content["films"].items():
            columns = ("image", "left", "right") if "left" in row else ("image", "source")
            films[number] = {column: str(row[column]) for column in columns}
        return films
