"""Reading files of weights: what is damaged or could run code is refused, by name."""

import argparse
import contextlib
import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import torch
from helpers.checkpoints import repacked, zeroed
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from paxray_lib.models.weights import fill, read_weights, state_of


class _Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def _small_file() -> bytes:
    buffer = io.BytesIO()
    torch.save({"opt": argparse.Namespace(lr=0.1), "model": {"a": torch.arange(3.0)}}, buffer)
    return buffer.getvalue()


SMALL = _small_file()
DAMAGED = {
    "zeros in a tensor": lambda: zeroed(SMALL),
    "another one before it": lambda: SMALL[:-40] + SMALL,
    "compressed": lambda: repacked(SMALL, method=zipfile.ZIP_DEFLATED),
    "two of one name": lambda: repacked(SMALL, lambda name, data: [(name, data), (name, b"")]),
    "names by case": lambda: repacked(
        SMALL, lambda name, data: [(name, data), (name.upper(), b"")]
    ),
    "a short member": lambda: repacked(
        SMALL, lambda name, data: [(name, data[:1] if name.endswith("data/0") else data)]
    ),
    "a missing member": lambda: repacked(
        SMALL, lambda name, data: [] if name.endswith("data/0") else [(name, data)]
    ),
}


def test_code_in_a_file_is_refused_and_not_run(tmp_path):
    torch.save({"model": {}, "opt": _Payload(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(
        ValueError, match=r"evil\.pth.*could run code.*asks for \S*getattr"
    ) as caught:
        read_weights(tmp_path / "evil.pth")
    assert "weights_only" not in str(caught.value)  # torch's advice to run it all the same
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content", [b"", b"hello\n", b"\x80\x02", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04"]
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_other_files_are_refused_by_name(tmp_path, content, suffix):
    path = tmp_path / f"some{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"some{suffix}"):
        read_weights(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file of weights"):
        read_weights(tmp_path / "missing.pth")


@given(cut=st.integers(1, len(SMALL) - 1))
def test_every_cut_is_noticed(tmp_path_factory, cut):
    path = tmp_path_factory.getbasetemp() / "cut.pth"
    path.write_bytes(SMALL[:cut])
    with pytest.raises(ValueError, match=r"cut\.pth"):
        read_weights(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("damage", DAMAGED)
def test_damage_to_a_zip_is_noticed(tmp_path, damage):
    (tmp_path / "x.pth").write_bytes(DAMAGED[damage]())
    with pytest.raises(ValueError, match=r"x\.pth: .*(damaged|cut short)"):
        read_weights(tmp_path / "x.pth")


def test_a_zip_that_was_packed_again_as_it_was_is_read(tmp_path):
    (tmp_path / "x.pth").write_bytes(repacked(SMALL))
    assert read_weights(tmp_path / "x.pth")["model"]["a"].tolist() == [0, 1, 2]


def test_files_of_old_torch_have_no_checksum_but_sizes(tmp_path):
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(3.0)}, buffer, _use_new_zipfile_serialization=False)
    path, data = tmp_path / "old.pth", buffer.getvalue()
    path.write_bytes(data)
    assert read_weights(path)["a"].tolist() == [0, 1, 2]
    for damaged in (data[:-4], data.replace(b"K\3", b"K\7"), data[: len(data) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"old\.pth: cannot be read as weights"):
            read_weights(path)


def test_a_length_that_lies_takes_no_memory(tmp_path):
    path = tmp_path / "old.pth"
    path.write_bytes(b"\x80\2X\xff\xff\xff\xf0text")  # of 4 GB
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"old\.pth: cannot be read as weights"):
            read_weights(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_long_name_of_an_object_is_told_in_part(tmp_path):
    path = tmp_path / "old.pth"
    path.write_bytes(b"\x80\2c" + b"x" * 9000 + b"\nsystem\n.")
    with pytest.raises(ValueError, match=r"it asks for x{80}\)") as raised:
        read_weights(path)
    assert len(str(raised.value)) < 400 + len(str(path))


@pytest.mark.parametrize(
    "header",
    [
        '{"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}',
        '{"a": {"dtype": "F32", "shape": [1000000000, 1000000000], "data_offsets": [0, 12]}}',
        '{"a": {"dtype": "F32", "shape": [3], "data_offsets": [4, 16]}}',
        '{"a": {"dtype": "F32", "shape": [-3], "data_offsets": [0, 12]}}',
        '{"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}, '
        '"a": {"dtype": "I32", "shape": [3], "data_offsets": [0, 12]}}',
        "[" * 100_000,
    ],
)
def test_sizes_in_safetensors_are_checked(tmp_path, header):
    text = header.encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(12))
    with pytest.raises(ValueError, match=r"x\.safetensors: cannot be read as weights"):
        read_weights(tmp_path / "x.safetensors")


@given(place=st.integers(0, len(SMALL) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_changes_nothing_or_is_noticed(tmp_path_factory, place, byte):
    path = tmp_path_factory.getbasetemp() / "changed.pth"
    path.write_bytes(SMALL[:place] + bytes([byte]) + SMALL[place + 1 :])
    with contextlib.suppress(ValueError):  # it may also be read: not every byte matters
        content = read_weights(path)
        assert (content["opt"].lr, content["model"]["a"].tolist()) == (0.1, [0, 1, 2])


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"model": s, "epoch": 3}, lambda s: {"state_dict": s}]
)
def test_state_is_found_with_and_without_wrapping(prefix, wrap):
    found = state_of(wrap({f"{prefix}a.weight": torch.ones(1)}), "x.pth")
    assert list(found) == ["a.weight"]


ODD = [
    {"a": torch.ones(2, device="meta")},
    {"a": torch.ones(2).to_sparse()},
    {"a": torch.ones(2) * 1j},
]


@pytest.mark.parametrize(
    "content", [{}, [1], {"model": {"a": 3}}, {"a": torch.ones(1), "b": 2}, None, *ODD]
)
def test_content_without_weights_is_refused(content):
    with pytest.raises(ValueError, match=r"x\.pth: holds no weights"):
        state_of(content, "x.pth")


def test_names_that_are_the_same_without_their_prefix_are_refused():
    state = {"module.a": torch.ones(1), "a": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"x\.pth: .*'module\.'"):
        state_of(state, "x.pth")


def test_fill_copies_in_the_modules_dtype():
    state = {
        "weight": torch.full((2, 3), 0.5, dtype=torch.float16),
        "bias": torch.ones(2, dtype=torch.float64),
    }
    layer = nn.Linear(3, 2)
    fill(layer, state, "x.pth", "a layer")
    state["weight"].zero_()
    assert layer.weight.dtype == torch.float32
    assert float(layer.weight.detach().sum()) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("bias"), "1 missing: bias"),
        (lambda s: s.update(more=torch.ones(1)), "1 not known: more"),
        (lambda s: s.update(bias=torch.ones(5)), r"1 shapes: bias is \(5,\), not \(2,\)"),
    ],
)
def test_fill_refuses_what_does_not_fit_and_changes_nothing(change, message):
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    state = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
    change(state)
    with pytest.raises(ValueError, match=rf"x\.pth: does not fit a layer: {message}"):
        fill(layer, state, "x.pth", "a layer")
    assert torch.equal(layer.weight, before)


def test_a_lack_of_memory_is_no_damage(tmp_path, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    torch.save({"x": torch.zeros(2)}, tmp_path / "x.pth")
    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(MemoryError):
        read_weights(tmp_path / "x.pth")
