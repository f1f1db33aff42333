"""Checkpoints of a tiny network, damaged or changed."""

import functools
import io
import tempfile
import zipfile
from pathlib import Path

import torch
from helpers.tiny_models import tiny_model

from paxray_lib.models.checkpoints import save_model
from paxray_lib.models.digest import digest


@functools.cache
def tiny_checkpoint() -> bytes:
    """Return a checkpoint of a network for three labels."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder, "a.ckpt"), tiny_model().eval(), epoch=3)
        return Path(folder, "a.ckpt").read_bytes()


def changed(signed: bool = True, **changes) -> bytes:
    """Return it as another program would write it that changes some parts, and their digests."""
    content = torch.load(io.BytesIO(tiny_checkpoint()), weights_only=True)
    content |= changes
    if signed:
        digests = content["digests"]
        content["digests"] = {part: digest(content[part]) for part in digests if part in content}
    buffer = io.BytesIO()
    torch.save({key: value for key, value in content.items() if value is not None}, buffer)
    return buffer.getvalue()


def with_weight(value: float, name: str = "running_var", signed: bool = True) -> bytes:
    """Return it with one number of the first weight whose name ends so changed."""
    model = torch.load(io.BytesIO(tiny_checkpoint()), weights_only=True)["model"]
    key = next(key for key in model if key.endswith(name))
    model[key].view(-1)[0] = value
    return changed(signed=signed, model=model)


def zeroed(data: bytes, share: float = 0.2) -> bytes:
    """Return a zip with that share of its largest member's middle zeroed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    place, length = data.index(content_of(data, largest.filename)), largest.file_size
    start, count = place + length // 2, max(1, int(share * length))
    return data[:start] + bytes(count) + data[start + count :]


def content_of(data: bytes, name: str) -> bytes:
    """Return the content of one of a zip's members."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name)


def repacked(data: bytes, change=lambda name, content: [(name, content)], method=0) -> bytes:
    """Return a zip packed again; `change` gives the members to write in place of each."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as archive,
        zipfile.ZipFile(buffer, "w", method) as again,
    ):
        for name in archive.namelist():
            for new_name, content in change(name, archive.read(name)):
                again.writestr(new_name, content)
    return buffer.getvalue()
