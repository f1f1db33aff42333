"""Damaged and hostile folders that should be models."""

import json
import os

from helpers.hostile import cases
from helpers.portable_files import changed_portable, portable_bytes

from paxray_lib.sharing.hub import export_hub

PREDICT = "predict --images {here} --out {here}/out --weights {here}/hub"
EXPORT = "export hub --weights {weights} --out "


def folder(change=lambda _: None):
    """Return what makes the folder of a model, changed."""

    def make(here):
        (here / "x.safetensors").write_bytes(portable_bytes())
        export_hub(here / "x.safetensors", here / "hub")
        change(here / "hub")

    return make


def config(**changes):
    """Return what makes a folder with another config.json."""

    def change(hub):
        about = json.loads((hub / "config.json").read_text()) | changes
        (hub / "config.json").write_text(json.dumps(about))

    return folder(change)


def other_weights(hub):
    export_hub("open", hub.parent / "other")
    os.replace(hub.parent / "other/model.safetensors", hub / "model.safetensors")


def pipe(hub):
    (hub / "config.json").unlink()
    os.mkfifo(hub / "config.json")


@cases(
    (
        "weights of another model",
        folder(other_weights),
        *(PREDICT, 2, r"hub: config\.json and model\.safetensors do not belong together"),
    ),
    (
        "no weights",
        folder(lambda hub: (hub / "model.safetensors").unlink()),
        *(PREDICT, 2, r"model\.safetensors: no such file; a folder that is a model"),
    ),
    (
        "no configuration",
        folder(lambda hub: (hub / "config.json").unlink()),
        *(PREDICT, 2, r"config\.json: no such file; a folder that is a model"),
    ),
    ("an empty folder", lambda here: (here / "hub").mkdir(), PREDICT, 2, "no such file; a folder"),
    ("a configuration that is a pipe", folder(pipe), PREDICT, 2, r"config\.json: a named pipe"),
    (
        "a configuration cut short",
        folder(lambda hub: os.truncate(hub / "config.json", 99)),
        *(PREDICT, 2, r"config\.json: not a JSON file"),
    ),
    (
        "an empty configuration",
        folder(lambda hub: (hub / "config.json").write_text("")),
        *(PREDICT, 2, r"config\.json: the file is empty"),
    ),
    (
        "a configuration of 2 MB",
        folder(lambda hub: (hub / "config.json").write_text(" " * 2**21)),
        *(PREDICT, 2, r"config\.json: more than 1 MiB"),
    ),
    (
        "a configuration of 200,000 brackets",
        folder(lambda hub: (hub / "config.json").write_text("[" * 200_000)),
        *(PREDICT, 2, r"config\.json: not a JSON file: nested too deeply"),
    ),
    (
        "a configuration of another library",
        folder(lambda hub: (hub / "config.json").write_text('{"model_type": "segformer"}')),
        *(PREDICT, 2, r"config\.json: the file is not the header of a paxray-model"),
    ),
    (
        "a configuration that says no labels",
        folder(lambda hub: (hub / "config.json").write_text('{"format": "paxray-model"}')),
        *(PREDICT, 2, r"config\.json: paxray-model of version None, not 1"),
    ),
    (
        "another threshold",
        config(threshold=0.1),
        *(PREDICT, 2, r"hub: config\.json and model\.safetensors do not belong together"),
    ),
    (
        "a path for the encoder",
        config(config={"architecture": "unet", "encoder": "/etc/passwd"}),
        *(PREDICT, 2, r"hub: config\.json and model\.safetensors do not belong together"),
    ),
    (
        "a path for the weights",
        config(weights="../../other.safetensors", digest=0),
        *(PREDICT, 2, r"hub: config\.json and model\.safetensors do not belong together"),
    ),
    (
        "weights cut short",
        folder(lambda hub: os.truncate(hub / "model.safetensors", 20_000)),
        *(PREDICT, 2, r"model\.safetensors: "),
    ),
    (
        "weights that are a folder",
        folder(
            lambda hub: ((hub / "model.safetensors").unlink(), (hub / "model.safetensors").mkdir())
        ),
        *(PREDICT, 2, r"model\.safetensors: a folder, but a file is needed"),
    ),
)
def test_folders_of_models(case, hostile):
    hostile(case)


def signed_path(here):
    """Make a folder, rightly signed, whose encoder is a path."""
    from paxray_lib.models.portable import read_portable, sign

    folder()(here)
    about = read_portable(here / "hub")
    weights = about.pop("model")
    about["config"] = {"architecture": "unet", "encoder": "hf_hub:../../evil/model"}
    about["digest"] = sign(about, weights)
    (here / "hub/config.json").write_text(json.dumps(about))


def odd_header(here):
    """Write a model whose header has the right kinds of values, with others in them."""
    parts = {"recipe": [3], "sources": ["x"], "scores": {"evaluation": {"a": 1}, "mean": [None]}}
    (here / "x.safetensors").write_bytes(changed_portable(**parts))


@cases(
    (
        "sources and scores of other kinds",
        odd_header,
        *("export hub --weights {here}/x.safetensors --out {here}/o", 0, "3 labels"),
    ),
    ("a signed path for the encoder", signed_path, PREDICT, 2, "hub: unknown encoder 'hf_hub:../"),
    ("a folder that is there", lambda here: (here / "o").mkdir(), EXPORT + "{here}/o", 2, "exists"),
    (
        "a link that leads nowhere",
        lambda here: (here / "o").symlink_to(here / "gone"),
        *(EXPORT + "{here}/o", 2, "o: exists, and is not written over"),
    ),
    (
        "a folder below a file",
        lambda here: (here / "o").touch(),
        *(EXPORT + "{here}/o/hub", 2, r"/o"),
    ),
    (
        "no weights to export",
        lambda _: None,
        *("export hub --weights {here}/no.ckpt --out {here}/o", 2, r"no\.ckpt: no such file"),
    ),
)
def test_export_hub(case, hostile):
    hostile(case)
