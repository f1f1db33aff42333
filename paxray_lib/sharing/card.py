"""The card of a model: README.md with YAML front matter, as model hubs read it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from paxray_lib.labels import LabelSet

_TEMPLATE = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")
# identifiers that hubs know; any other is "other"
_LICENCES = (
    *("mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "unknown", "cc0-1.0"),
    *(f"cc-by{terms}-4.0" for terms in ("", "-sa", "-nc", "-nd", "-nc-sa", "-nc-nd")),
)
#: Settings of a training that name files and folders of one machine.
PATHS = ("data_root", "datafile", "data", "run_dir", "init_from", "encoder_weights")
_TAGS = ("chest-x-ray", "anatomy", "medical-imaging", "segmentation", "multi-label")
_COUNTS = ("films", "images", "cases")


def write_card(name: str, about: Mapping[str, Any]) -> str:
    """Return the card of a model from its header (see `models.portable`).

    `name` is the network's.
    """
    labels = LabelSet(about["labels"])
    groups: dict[str, list[str]] = {}
    for label, group in zip(labels.names, labels.group, strict=True):
        groups.setdefault(group or "others", []).append(label)
    settings = _mapping(_mapping((about["recipe"] or [{}])[-1]).get("settings"))
    evaluation = _mapping(about["scores"].get("evaluation"))
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False
    )
    environment.filters["cell"] = cell
    return environment.from_string(_TEMPLATE).render(
        front=front_matter(about["licence"]),
        name=name,
        about=about,
        groups=groups,
        size=" x ".join(map(str, about["preprocessing"]["size"])),
        sources=[
            [source.get(key, "") for key in ("name", "what", "licence", "cite", "note")]
            for source in map(_mapping, about["sources"])
        ],
        settings={key: value for key, value in settings.items() if _is_shown(key, value)},
        evaluation=evaluation,
        is_synthetic=evaluation.get("synthetic", False),
        scores=list(score_rows(about["scores"])),
    )


def front_matter(licence: str) -> str:
    """Return the YAML that hubs read."""
    known = "-".join(licence.lower().split())
    content: dict[str, Any] = {"license": known if known in _LICENCES else "other"}
    if content["license"] == "other":
        content["license_name"] = licence
    content |= {
        "library_name": "paxray_lib",
        "pipeline_tag": "image-segmentation",
        "tags": [*_TAGS, "safetensors"],
    }
    return yaml.safe_dump(content, sort_keys=False)


def score_rows(scores: Mapping[str, Any], *names: str) -> Iterator[tuple[str, str, str, Any]]:
    """Yield what has an interval in scores: its name, value, interval, and of how many films.

    A mean stands beside its `interval`, and any other score NAME beside its `NAME_interval`.

    >>> list(score_rows({"val": {"heart": {"films": 9, "mean": 0.9, "interval": [0.8, 0.95]}}}))
    [('val, heart', '0.900', '0.800 to 0.950', 9)]
    """
    count = next((scores[key] for key in _COUNTS if isinstance(scores.get(key), int)), "")
    for key, value in scores.items():
        if isinstance(value, Mapping):
            yield from score_rows(value, *names, key.replace("_", " "))
        ends = scores.get("interval" if key == "mean" else f"{key}_interval")
        if _is_number(value) and isinstance(ends, Sequence) and len(ends) == 2:
            name = ", ".join((*names, *([] if key == "mean" else [key.replace("_", " ")])))
            is_known = all(map(_is_number, ends))
            interval = f"{ends[0]:.3f} to {ends[1]:.3f}" if is_known else ""
            yield name, f"{value:.3f}", interval, count


def cell(value: object) -> str:
    """Return a value as the cell of a table, in one line."""
    return " ".join(str(value).replace("|", "\\|").split())


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return an object of a header, whose parts may be anything."""
    return value if isinstance(value, Mapping) else {}


def _is_shown(key: str, value: Any) -> bool:
    return key not in PATHS and isinstance(value, str | int | float | bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
