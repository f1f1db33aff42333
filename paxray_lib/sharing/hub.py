"""A model as a folder in the usual form of model hubs; nothing is uploaded.

config.json          what `models.portable` says of a model, with one digest of it and the weights
model.safetensors    the weights alone, float16 where that changes no number, else float32
README.md            the model card
LICENSE, ...         notices that lie beside the model's own file, such as those of the open model
open.LICENSE, ...    those of the open model, of which another's training began
"""

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from paxray_lib.evaluation.result import read_summary
from paxray_lib.models.checkpoints import FORMAT, load_model, read_extra
from paxray_lib.models.named import find_weights
from paxray_lib.models.portable import CONFIG, WEIGHTS, describe, read_portable, sign
from paxray_lib.models.segmenter import AnatomySegmenter
from paxray_lib.models.weights import read_weights
from paxray_lib.sharing.card import PATHS, write_card
from paxray_lib.utils import log
from paxray_lib.utils.files import part_name, read_bytes

_ABOUT = ("threshold", "licence", "sources", "recipe", "scores")
_NOTICES = ("LICENSE", "NOTICES.md", "APACHE-2.0.txt")
_FROM_OPEN = {
    "name": "open",
    "what": "weights that the training started from",
    "licence": "MIT, see the files open.*",
}
#: Where nobody said the licence.
UNKNOWN = "unknown"


def export_hub(
    weights: str | os.PathLike, out: str | os.PathLike, licence: str | None = None
) -> AnatomySegmenter:
    """Write a model as a folder, whole or not at all; return the model.

    `load_model(out)` gives exactly its weights. The card has the scores of the model's header, or
    those of the run that it is a checkpoint of. The licence is the header's, else `licence`.

    Raises
    ------
    ValueError
        If there is something at `out`, or the model has a licence, and another one is given. For
        weights see `load_model`.
    """
    out, weights = Path(out), find_weights(weights)
    if os.path.lexists(out):
        raise ValueError(f"{out}: exists, and is not written over; name a new folder")
    model = load_model(weights)
    about = _about(weights, model)
    if licence is not None:
        if about["licence"] not in (UNKNOWN, licence):
            raise ValueError(f"{weights}: its licence is {about['licence']}; leave --licence out")
        about["licence"] = licence
    header = describe(model, **about)
    state = _smallest(model.network.state_dict())
    header["digest"] = sign(header, state)
    files = {
        CONFIG: json.dumps(header, indent=1).encode(),
        WEIGHTS: safetensors.torch.save(state, {"format": "pt"}),
        "README.md": write_card(model.name, header).encode(),
    }
    files |= _notices(weights if weights.is_dir() else weights.parent)
    if _FROM_OPEN in header["sources"]:
        ours = _notices(find_weights("open").parent)
        files |= {f"open.{name}": text for name, text in ours.items()}
    _write(out, files)
    return model


def _notices(folder: Path) -> dict[str, bytes]:
    paths = [folder / name for name in _NOTICES]
    return {path.name: read_bytes(path) for path in paths if path.is_file()}


def _about(weights: Path, model: AnatomySegmenter) -> dict[str, Any]:
    """Return what is known of a model besides the model itself."""
    if header := read_portable(weights):
        return {key: header[key] for key in _ABOUT}
    about = {"threshold": 0.5, "licence": UNKNOWN, "sources": [], "recipe": [], "scores": {}}
    content = read_weights(weights)
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        return about
    settings = read_extra(weights).get("config")
    if isinstance(settings, Mapping):
        kept = {key: value for key, value in settings.items() if key not in PATHS}
        about["threshold"] = float(settings.get("threshold", 0.5))
        about |= {"sources": _sources(settings), "recipe": [{"settings": kept}]}
    return {**about, "scores": _scores(weights, model.name)}


def _sources(settings: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return data sets and weights that a training began with."""
    roots = [part["root"] for part in settings.get("data") or []] or [settings.get("data_root")]
    used = [(root, "data set of the training") for root in roots]
    used += [
        (settings.get("init_from"), _FROM_OPEN["what"]),
        (settings.get("encoder_weights"), "weights that the encoder started from"),
    ]
    found = [{"name": _name(Path(str(path))), "what": what} for path, what in used if path]
    return [_FROM_OPEN if source.items() <= _FROM_OPEN.items() else source for source in found]


def _name(path: Path) -> str:
    """Return a path, but of one from the root, which is of one machine, the last part."""
    return path.as_posix() if path.name and not path.is_absolute() else path.resolve().name


def _scores(checkpoint: Path, name: str) -> dict[str, Any]:
    """Return the summary of a run's evaluation, if that was of this checkpoint."""
    path = checkpoint.absolute().parent.parent / "evaluation" / "summary.json"
    if checkpoint.absolute().parent.name != "checkpoints" or not path.exists():
        return {}
    summary = read_summary(path)
    was = Path(str(summary.pop("model", ""))).name
    # notebooks evaluate the best checkpoint, and say the network's name
    is_of_this = was == checkpoint.name or (was == name and checkpoint.name == "best.ckpt")
    if not is_of_this or path.stat().st_mtime < checkpoint.stat().st_mtime:
        log(
            f"{path}: of another checkpoint, or older than {checkpoint.name}: no scores in the "
            f"card; evaluate first: paxray evaluate --weights {checkpoint} --out {path.parent} ..."
        )
        return {}
    data = Path(str(summary.pop("datafile", ""))).resolve().parent.name
    return {"evaluation": {"data": data, **summary}}


def _smallest(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a network's state with the same numbers in fewer bytes; no counters of batches."""
    weights = {}
    for key, value in sorted(state.items()):
        if value.is_floating_point():
            whole = value.detach().to("cpu", torch.float32)
            half = whole.half()
            weights[key] = (half if torch.equal(half.float(), whole) else whole).contiguous()
    return weights


def _write(out: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files that appears whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(part_name(out, uuid.uuid4().hex[:12]))
    try:
        temporary.mkdir()
        for name, data in files.items():
            (temporary / name).write_bytes(data)
        os.rename(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
