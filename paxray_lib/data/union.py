"""Several data sets in one training: their labels united by name, their samples in one row.

A profile lists them as `data`, in place of data_root and datafile:

    data:
      - {root: data/phantoms, weight: 3}
      - {root: data/hospital, datafile: lungs.json, weight: 1}

A set that draws other structures than the rest has a `map` (see `data.mapping`), which says what
they are in the labels of the others. With `map: wingspan` a film's visible lung fields teach where
a lung is neither behind the heart nor below the diaphragm: their loss is that of the expression of
probabilities, lung x (1 - diaphragm) x ... (see `training.compounds`), and the network has no label
more than without that set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from paxray_lib.data.dataset import PaxrayDataset, Sample
from paxray_lib.data.mapping import LabelMap, read_map
from paxray_lib.labels.expressions import Expression, single_label
from paxray_lib.labels.matching import unite
from paxray_lib.labels.table import LabelSet
from paxray_lib.utils.errors import did_you_mean, shown
from paxray_lib.utils.settings import cast, field_types

_FORM = "a list of {root, datafile, weight, map}, where root is needed"


@dataclass(frozen=True)
class DataSource:
    """A data set of a training.

    Attributes
    ----------
    root, datafile : str
        As for `PaxrayDataset`.
    weight : float
        The share of the images drawn that are expected to be of this set, relative to the others.
    map : str or None
        What its structures are in the labels of the sets without a map: a path or a name, see
        `data.mapping.read_map`. Others of its labels are left out.
    """

    root: Annotated[str, Field(min_length=1)]
    datafile: Annotated[str, Field(min_length=1)] = "paxray.json"
    weight: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] = 1.0
    map: Annotated[str, Field(min_length=1)] | None = None


def _sources(value: Any) -> tuple[DataSource, ...]:
    """Return the sources that a profile lists, or raise ValueError with the item and the key."""
    if not isinstance(value, list | tuple) or len(value) > 100:
        raise ValueError(f"must be {_FORM}, not {shown(value)}")
    return tuple(_source(f"item {i}", item) for i, item in enumerate(value, 1))


def _source(place: str, item: Any) -> DataSource:
    if isinstance(item, DataSource):
        return item
    if not isinstance(item, Mapping) or "root" not in item:
        raise ValueError(f"must be {_FORM}; {place} is {shown(item)}")
    types = field_types(DataSource)
    for key in item:
        if key not in types:
            raise ValueError(f"{place} has the unknown key {shown(key)}{did_you_mean(key, types)}")
    return DataSource(**{k: cast(value, types[k], f"{place}: {k}") for k, value in item.items()})


#: The type of a setting that lists data sets; empty where data_root and datafile name the only one.
DataSources = Annotated[tuple[DataSource, ...], BeforeValidator(_sources)]


def name_first(settings: Mapping[str, Any], origin: object) -> dict[str, Any]:
    """Return settings where data_root and datafile are those of the first data set, if `data` is.

    Whatever works with one data set takes the first. ValueError if both ways of naming are used.
    """
    if not settings.get("data"):
        return dict(settings)
    source = settings["data"][0]
    first = {"data_root": source["root"], "datafile": source["datafile"]}
    for key, value in first.items():
        if settings.get(key, value) != value:
            raise ValueError(f"{origin}: {both_named(key, settings[key])}")
    return {**settings, **first}


def both_named(key: str, value: object) -> str:
    """Return what is wrong with a `key` that stands beside `data`."""
    return f"{key} {shown(value)} and data: data takes the place of {key}; leave one of them out"


class DatasetUnion(Sequence[Sample]):
    """The samples of several data sets with the same labels, one set after the other."""

    def __init__(self, parts: Sequence[PaxrayDataset]):
        self.parts, self.labels = list(parts), parts[0].labels
        self.entries = [entry for part in parts for entry in part.entries]
        self._firsts = list(accumulate(map(len, parts), initial=0))

    def __len__(self) -> int:
        return len(self.entries)

    def image_path(self, index: int) -> Path:
        """Return the image file of a sample."""
        part, within = self._place(index)
        return part.image_path(within)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # no slices: it reads
        part, within = self._place(index)
        return part[within]

    def _place(self, index: int) -> tuple[PaxrayDataset, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        number = next(i for i, end in enumerate(self._firsts[1:]) if index < end)
        return self.parts[number], index - self._firsts[number]


@dataclass(frozen=True)
class TrainingData:
    """The data sets of a training.

    Attributes
    ----------
    labels : LabelSet
        Those of the sets without a map, united: the network's, L.
    compounds : dict of Expression
        What else the training splits have, by the text of its expression of these labels.
    train, val : list of PaxrayDataset
        The training splits, all with labels and compounds together, and the validation splits, each
        with its own: those of the network, or the structures of its map.
    """

    labels: LabelSet
    compounds: dict[str, Expression]
    train: list[PaxrayDataset]
    val: list[PaxrayDataset]


def open_sources(sources: Sequence[DataSource]) -> TrainingData:
    """Open the data sets of a training; for errors see each, and `data.mapping.read_map`.

    ValueError, too, if each of them has a map.
    """
    train, val = (
        [PaxrayDataset(source.root, source.datafile, split) for source in sources]
        for split in ("train", "val")
    )
    plain = [part.labels for part, source in zip(train, sources, strict=True) if not source.map]
    if not plain:
        raise ValueError("data: each set has a map; one must be without, to give the labels")
    labels = unite(plain)
    maps = [
        read_map(source.map, labels, part.labels) if source.map else None
        for part, source in zip(train, sources, strict=True)
    ]
    named = [label_map and label_map.in_terms_of(labels) for label_map in maps]
    compounds = {
        name: expression
        for label_map in filter(None, named)
        for name, expression in zip(label_map.labels, label_map.predicted, strict=True)
        if single_label(expression) is None
    }
    whole = LabelSet([*labels, *compounds])
    return TrainingData(
        labels,
        compounds,
        train=[_mapped(*pair).with_labels(whole) for pair in zip(train, named, strict=True)],
        val=[
            _mapped(part, label_map) if label_map else part.with_labels(labels)
            for part, label_map in zip(val, maps, strict=True)
        ],
    )


def _mapped(part: PaxrayDataset, label_map: LabelMap | None) -> PaxrayDataset:
    return part.mapped(label_map) if label_map else part
