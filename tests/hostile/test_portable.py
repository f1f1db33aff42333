"""Damaged and hostile portable model files."""

import pytest
import torch
from helpers.hostile import Case, cases, run_case
from helpers.portable_files import changed_portable, portable_bytes, with_header

EXPORT = "export onnx --weights {here}/x.safetensors --out {here}/"
PREDICT = "predict --images {here} --out {here}/out --weights {here}/x.safetensors"


def weights(make):
    """Return what writes the bytes that `make` returns as a model."""
    return lambda here: (here / "x.safetensors").write_bytes(make())


def patched(change):
    """Return what writes a file whose weights `change` has changed, and its digest."""

    def make():
        def apply(state):
            state = dict(state)
            change(state)
            return state

        return changed_portable(apply)

    return weights(make)


def set_first(state, value, name="weight"):
    key = next(key for key in state if key.endswith(name))
    state[key].view(-1)[0] = value


def turned(state):
    key = next(
        key for key, value in state.items() if value.ndim == 4 and len(value) != len(value[0])
    )
    state[key] = state[key].transpose(0, 1).contiguous()


def flipped():
    data = bytearray(portable_bytes())
    data[-1000] ^= 1
    return bytes(data)


UNET = {"architecture": "unet", "encoder": "resnet18", "head_stride": 2}
GIANT = {"architecture": "fpn", "encoder": "tu-convnext_xxlarge"}


@cases(
    (
        "cut in the header",
        weights(lambda: portable_bytes()[:2000]),
        *(PREDICT, 2, r"x\.safetensors: its header claims \d+ bytes, of a file of 2000: .*cut sh"),
    ),
    (
        "cut in the weights",
        weights(lambda: portable_bytes()[:-5000]),
        *(PREDICT, 2, r"x\.safetensors: damaged or cut short .*; copy it again"),
    ),
    (
        "bytes after its end",
        weights(lambda: portable_bytes() + bytes(8)),
        *(PREDICT, 2, r"x\.safetensors: damaged or cut short"),
    ),
    ("empty", weights(lambda: b""), PREDICT, 2, r"x\.safetensors: the file is empty"),
    ("four bytes", weights(lambda: b"abcd"), PREDICT, 2, r"x\.safetensors: its header claims"),
    (
        "a header that claims 2^63 bytes",
        weights(lambda: (2**63).to_bytes(8, "little") + portable_bytes()[8:]),
        *(PREDICT, 2, r"x\.safetensors: its header claims 9223372036854775808 bytes"),
    ),
    (
        "a header of 4 MB",
        weights(lambda: with_header('{"__metadata__": {"paxray_model": "' + " " * 2**22 + '"}}')),
        *(PREDICT, 2, r"x\.safetensors: a header of 4194\d+ bytes, more than 1048576"),
    ),
    (
        "a header of 200,000 brackets",
        weights(lambda: with_header("[" * 200_000)),
        *(
            PREDICT,
            2,
            r"x\.safetensors: damaged \(its header: not a JSON file: nested too deeply\); copy it",
        ),
    ),
    (
        "metadata that are no text",
        weights(lambda: with_header('{"__metadata__": {"paxray_model": 3}}')),
        *(PREDICT, 2, r"x\.safetensors: paxray_model is not the header of a paxray-model"),
    ),
    (
        "metadata that are no object",
        weights(lambda: with_header('{"__metadata__": {"paxray_model": "[1]"}}')),
        *(PREDICT, 2, r"x\.safetensors: paxray_model is not the header of a paxray-model"),
    ),
    (
        "a tensor beyond the end of the file",
        weights(lambda: portable_bytes().replace(b'"data_offsets":[0,', b'"data_offsets":[9,', 1)),
        *(PREDICT, 2, r"x\.safetensors: damaged or cut short"),
    ),
    ("one bit of a weight", weights(flipped), PREDICT, 2, r"its digest says that it was changed"),
    (
        "exchanged labels",
        weights(lambda: changed_portable(labels=["b", "a", "c"], signed=False)),
        *(PREDICT, 2, r"x\.safetensors: its digest says that it was changed"),
    ),
    (
        "more labels than the network has",
        weights(lambda: changed_portable(labels=["a", "b", "c", "d"])),
        *(PREDICT, 2, r"x\.safetensors: does not fit .* 4 labels: 2 shapes: segmentation_head"),
    ),
    (
        "labels that are numbers",
        weights(lambda: changed_portable(labels=[1, 2, 3])),
        *(PREDICT, 2, r"x\.safetensors: damaged .*label"),
    ),
    ("no labels", weights(lambda: changed_portable(labels=[])), PREDICT, 2, r"x\.safetensors: dam"),
    (
        "another version",
        weights(lambda: changed_portable(version=2)),
        *(PREDICT, 2, r"x\.safetensors: paxray-model of version 2, not 1; update paxray_lib"),
    ),
    (
        "a threshold of 7",
        weights(lambda: changed_portable(threshold=7.0)),
        *(PREDICT, 2, r"x\.safetensors: threshold 7\.0, not between 0 and 1"),
    ),
    (
        "a threshold that is no number",
        weights(lambda: changed_portable(threshold=float("nan"))),
        *(PREDICT, 2, r"x\.safetensors: threshold nan, not between 0 and 1"),
    ),
    (
        "another encoder",
        weights(lambda: changed_portable(config=UNET)),
        *(PREDICT, 2, r"x\.safetensors: does not fit unet-resnet18 with 3 labels"),
    ),
    (
        "an encoder of 850 million weights",
        weights(lambda: changed_portable(config=GIANT)),
        *(PREDICT, 2, r"x\.safetensors: does not fit fpn-tu-convnext_xxlarge with 3 labels"),
    ),
    (
        "preprocessing of 43 GB",
        weights(
            lambda: changed_portable(preprocessing={"kind": "standard", "size": [60000, 60000]})
        ),
        *(PREDICT, 2, r"x\.safetensors: .*size \[60000, 60000\].* up to 4096"),
    ),
    (
        "a weight that is gone",
        patched(lambda state: state.pop(next(iter(state)))),
        *(PREDICT, 2, r"x\.safetensors: does not fit .* 1 missing: "),
    ),
    (
        "a weight too many",
        patched(lambda state: state.update(more=torch.zeros(1))),
        *(PREDICT, 2, r"x\.safetensors: does not fit .* 1 not known: more"),
    ),
    ("a weight of another shape", patched(turned), PREDICT, 2, r"does not fit .* 1 shapes: "),
    (
        "a weight of whole numbers",
        patched(lambda state: state.update({next(iter(state)): torch.zeros(3, dtype=torch.int64)})),
        *(PREDICT, 2, r"x\.safetensors: '\S+' is I64, not F16 or F32"),
    ),
    (
        "a weight that is not a number",
        patched(lambda state: set_first(state, float("nan"))),
        *(PREDICT, 2, r"x\.safetensors: \S+weight has values that are not finite.*use another"),
    ),
    (
        "an infinite weight",
        patched(lambda state: set_first(state, float("inf"))),
        *(PREDICT, 2, r"x\.safetensors: \S+weight has values that are not finite"),
    ),
    (
        "a negative variance",
        patched(lambda state: set_first(state, -0.1, "running_var")),
        *(PREDICT, 2, r"x\.safetensors: \S+\.running_var has a negative variance \(-0\.1\)"),
    ),
)
def test_portable_files(case, hostile):
    hostile(case)


@cases(
    ("no weights", lambda _: None, f"{EXPORT}m.onnx", 2, r"x\.safetensors"),
    (
        "weights that were changed",
        weights(flipped),
        *(f"{EXPORT}m.onnx", 2, r"x\.safetensors: its digest says that it was changed"),
    ),
    (
        "a place that is a folder",
        lambda here: (here / "m.onnx").mkdir(),
        *("export onnx --weights {weights} --out {here}/m.onnx", 2, r"m\.onnx"),
    ),
    (
        "a name of another format",
        weights(portable_bytes),
        *(f"{EXPORT}m.pt", 2, r"m\.pt: ONNX files are written under a name that ends in \.onnx"),
    ),
    (
        "a folder that is a file",
        weights(portable_bytes),
        f"{EXPORT}x.safetensors/m.onnx",
        2,
        "x.safetensors: ",
    ),
)
def test_export_onnx(case, hostile):
    hostile(case)


FIELDS = ["config", "labels", "preprocessing", "threshold", "licence", "sources", "recipe"]


@pytest.mark.parametrize("field", [*FIELDS, "scores", "digest"])
def test_a_header_that_lacks_a_field_or_has_another_kind_of_value_is_refused(field, tmp_path):
    for value, words in ((None, f"its header lacks {field};"), (True, f"{field} is True, not a")):
        make = weights(lambda value=value: changed_portable(**{field: value}, signed=False))
        run_case(Case(field, make, PREDICT, 2, rf"x\.safetensors: {words}"), here=tmp_path)
