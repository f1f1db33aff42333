"""ONNX files of a tiny network, as another program would write them that changes some parts."""

import functools
import tempfile
from pathlib import Path

import onnx
from helpers.tiny_models import tiny_model

from paxray_lib.graphs.export import export_onnx
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.models import save_model


@functools.cache
def onnx_bytes() -> bytes:
    """Return a file of a network for three labels."""
    with tempfile.TemporaryDirectory() as folder:
        model = tiny_model(preprocessing=Preprocessing("standard", (64, 64)))
        save_model(Path(folder, "a.ckpt"), model)
        export_onnx(Path(folder, "a.ckpt"), Path(folder, "a.onnx"))
        return Path(folder, "a.onnx").read_bytes()


def changed_onnx(change) -> bytes:
    """Return it after `change` has changed its `ModelProto`."""
    model = onnx.load_from_string(onnx_bytes())
    change(model)
    return model.SerializeToString()


def with_text(key: str, text: str | None) -> bytes:
    """Return it with another text in its metadata, or without one."""

    def change(model):
        (entry,) = [entry for entry in model.metadata_props if entry.key == key]
        if text is None:
            model.metadata_props.remove(entry)
        else:
            entry.value = text

    return changed_onnx(change)
