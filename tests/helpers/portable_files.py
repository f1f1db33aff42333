"""Portable files of a tiny network, as another program would write them that changes some parts."""

import functools
import json
import tempfile
from pathlib import Path

import safetensors.torch
import torch
from helpers.tiny_models import tiny_model

from paxray_lib.models.digest import digest
from paxray_lib.models.portable import read_portable, save_portable

ABOUT = {
    "licence": "MIT",
    "sources": [{"name": "phantoms", "licence": "CC0 1.0"}],
    "recipe": [{"settings": {"epochs": 3}}],
    "scores": {"dice": 0.5},
}


@functools.cache
def portable_bytes() -> bytes:
    """Return a file of a network for three labels."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.safetensors")
        save_portable(path, tiny_model().eval(), **ABOUT)
        return path.read_bytes()


def changed_portable(weights=lambda state: state, signed=True, **changes) -> bytes:
    """Return it with a changed header (a part that is None goes) and changed weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.safetensors")
        path.write_bytes(portable_bytes())
        about = read_portable(path)
    state = weights({k: torch.from_numpy(v.copy()) for k, v in about.pop("model").items()})
    about = {key: value for key, value in (about | changes).items() if value is not None}
    if signed and "digest" not in changes:
        header = {key: value for key, value in about.items() if key != "digest"}
        about["digest"] = digest([header, {key: state[key] for key in sorted(state)}])
    return safetensors.torch.save(state, {"paxray_model": json.dumps(about)})


def with_header(text: str) -> bytes:
    """Return a file of that header alone."""
    data = text.encode()
    return len(data).to_bytes(8, "little") + data
