"""A training set that lies in memory whole, on the training device, and is augmented there.

Masks stay packed: 598 images of 512 x 512 with 166 labels are 3.3 GB, and 0.6 GB of pixels. On a
GPU a batch is a few gathers; only lines of source positions, some kilobytes, cross over. Elsewhere
the samples are augmented as by the workers of `paxray_lib.loader`, without reading or copying them.
Either way masks equal those of the workers to the bit, and pixels up to rounding."""

from collections.abc import Sequence

import numpy as np
import torch

from paxray_lib.data.augmentation import AugmentConfig, Params, apply, draw, noise_of, source_lines
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.bits import byte_count, swap_sides
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils.progress import map_ahead, progress

_THREADS = 4  # decoding releases the interpreter's lock

Sample = tuple[np.ndarray, PackedMasks, str, str | None]


def resident_bytes(dataset: PaxrayDataset, preprocessing: Preprocessing) -> int:
    """Return the bytes that the samples take at the network's size: packed masks, and pixels as
    float32.
    """
    height, width = preprocessing.size
    return len(dataset) * height * width * (4 + byte_count(len(dataset.labels)))


def read_resized(dataset: PaxrayDataset, preprocessing: Preprocessing, index: int) -> Sample:
    """Read a sample at the network's size.

    Returns
    -------
    pixels : (h, w) float32 array in 0..1
    masks : PackedMasks of (h, w)
    name : str
    view : "frontal", "lateral" or None

    Raises
    ------
    ValueError
        If the sample has no target, or a file is damaged; the message names the file.
    """
    sample = dataset[index]
    if sample.masks is None:
        raise ValueError(
            f"{dataset.image_path(index)}: no target in {dataset.datafile.path}; needed to train"
        )
    size, masks = preprocessing.size, sample.masks
    masks = masks if masks.shape[1:] == size else masks.resize(*size)
    return preprocessing.resize(sample.image), masks, sample.name, sample.view


class ResidentSet:
    """All samples of a training set on one device.

    Parameters
    ----------
    dataset : PaxrayDataset
    preprocessing : Preprocessing of the network
    augmentation : AugmentConfig
    seed : int
    device : torch.device or str
    quiet : show no progress

    Raises
    ------
    ValueError
        If a sample has no target, a file is damaged, or the network's size is not a square of
        `image_size`. All files are read at the start, in threads, with progress.
    """

    def __init__(
        self,
        dataset: PaxrayDataset,
        preprocessing: Preprocessing,
        augmentation: AugmentConfig,
        seed: int,
        device: torch.device | str,
        quiet: bool = False,
    ):
        self._device, self._augmentation, self._seed = torch.device(device), augmentation, seed
        self._labels, size = dataset.labels, preprocessing.size
        if size != (augmentation.image_size, augmentation.image_size):
            raise ValueError(
                f"image_size {augmentation.image_size}: must be the size of the network's input, {size}"
            )
        # only a GPU that counts in float64 takes its batches itself; others are served from the
        # host's memory
        store = self._device if self._device.type == "cuda" else torch.device("cpu")
        self._images = torch.empty((len(dataset), *size), dtype=torch.float32, device=store)
        shape = len(dataset), *size, byte_count(len(dataset.labels))
        self._masks = torch.empty(shape, dtype=torch.uint8, device=store)
        self._names, self._views = [], []
        self._fill(dataset, preprocessing, quiet)
        on_gpu = store.type == "cuda"
        self._packed = (
            None
            if on_gpu
            else [PackedMasks(masks, dataset.labels) for masks in self._masks.numpy()]
        )

    def __len__(self) -> int:
        return len(self._names)

    def _fill(self, dataset: PaxrayDataset, preprocessing: Preprocessing, quiet: bool) -> None:
        read = map_ahead(
            lambda index: read_resized(dataset, preprocessing, index), range(len(dataset)), _THREADS
        )
        shown = read if quiet else progress(read, "reading the training set", len(dataset))
        for index, (pixels, masks, name, view) in enumerate(shown):
            self._images[index].copy_(torch.from_numpy(pixels))
            self._masks[index].copy_(torch.from_numpy(masks.data))
            self._names.append(name)
            self._views.append(view)

    def take(
        self, keys: Sequence[tuple[int, int, int]]
    ) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
        """Return augmented samples on the device.

        Parameters
        ----------
        keys : sequence of (epoch, position, index), as `EpochSampler` yields

        Returns
        -------
        images : (N, crop, crop) float32 tensor in 0..1
        targets : (N, crop, crop, B) uint8 tensor, packed
        names : list of N str
        """
        params = [self._draw(*key) for key in keys]
        indices = [index for _, _, index in keys]
        if self._packed is None:
            images, targets = move_batch(self._images, self._masks, indices, params, self._labels)
        else:
            images, targets = self._apply(indices, params)
        names = [self._names[index] for index in indices]
        return images.to(self._device), targets.to(self._device), names

    def _draw(self, epoch: int, position: int, index: int) -> Params:
        rng = np.random.default_rng([self._seed, epoch, position])
        return draw(rng, self._augmentation, self._views[index])

    def _apply(
        self, indices: Sequence[int], params: Sequence[Params]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        crop = self._augmentation.crop_size
        images = np.empty((len(params), crop, crop), np.float32)
        targets = np.empty((len(params), crop, crop, self._masks.shape[3]), np.uint8)
        for k, (index, one) in enumerate(zip(indices, params, strict=True)):
            images[k], moved = apply(one, self._images[index].numpy(), self._packed[index])
            targets[k] = moved.data
        return torch.from_numpy(images), torch.from_numpy(targets)


def move_batch(
    images: torch.Tensor,
    masks: torch.Tensor,
    indices: Sequence[int],
    params: Sequence[Params],
    labels: LabelSet,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply drawn parameters to samples of a set, on its device: `augment.apply` for a batch.

    Parameters
    ----------
    images : (M, size, size) float32 tensor in 0..1
    masks : (M, H, W, B) uint8 tensor, packed
    indices : N indices into both
    params : N Params of one crop and one size
    labels : LabelSet

    Returns
    -------
    images : (N, crop, crop) float32 tensor in 0..1
    masks : (N, crop, crop, B) uint8 tensor
    """
    device, size = images.device, images.shape[-1]
    lines = np.stack([source_lines(one, *masks.shape[1:3]) for one in params])  # (N, 4, crop)
    centres = np.stack([source_lines(one, size, size, centres=True) for one in params])
    sent = _send(np.stack([lines, centres]), device)
    chosen = _send(np.array(indices), device)[:, None, None]
    targets = _gather_masks(masks, chosen, *_positions(sent[0]))
    flipped = np.flatnonzero([one.flip == "frontal" for one in params])
    if len(flipped):
        places = _send(flipped, device)
        targets.index_copy_(0, places, swap_sides(targets.index_select(0, places), labels))
    moved = _gather_pixels(images, chosen, *_positions(sent[1]))
    for k, one in enumerate(params):
        if one.changes_intensity:
            moved[k] = _change_intensity(one, moved[k])
    return moved, targets


def _send(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return an array on a device. A GPU is not waited for, which needs memory that it reads by
    itself.
    """
    tensor = torch.from_numpy(array)
    return (
        tensor.pin_memory().to(device, non_blocking=True)
        if device.type == "cuda"
        else tensor.to(device)
    )


def _positions(lines: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x and y (N, crop, crop) float64 from lines (N, 4, crop)."""
    return lines[:, 0, None, :] + lines[:, 1, :, None], lines[:, 2, None, :] + lines[:, 3, :, None]


def _gather(
    items: torch.Tensor, chosen: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """Return items (M, H, W, B) at whole positions (N, h, w) of the chosen samples; zero
    outside.
    """
    _, height, width, count = items.shape
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    places = (chosen * height + y.clamp(0, height - 1)) * width + x.clamp(0, width - 1)
    found = (
        items.reshape(-1, count).index_select(0, places.reshape(-1)).reshape(*places.shape, count)
    )
    return found.mul_(inside[..., None])


def _gather_masks(
    masks: torch.Tensor, chosen: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    return _gather(masks, chosen, x.floor().long(), y.floor().long())


def _gather_pixels(
    images: torch.Tensor, chosen: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    x, y = x.float(), y.float()
    left, top = x.floor(), y.floor()
    # exactly 0 without rotation and zoom: then pixels are moved unchanged
    right_part, low_part = x - left, y - top
    left, top = left.long(), top.long()
    out = torch.zeros_like(x)
    for down, part_y in ((0, 1 - low_part), (1, low_part)):
        for right, part_x in ((0, 1 - right_part), (1, right_part)):
            corner = _gather(images[..., None], chosen, left + right, top + down)[..., 0]
            out += corner * (part_y * part_x)
    return out


def _change_intensity(params: Params, pixels: torch.Tensor) -> torch.Tensor:
    if params.gamma != 1:
        pixels = pixels.clamp(0, 1) ** params.gamma
    if params.contrast != 1 or params.brightness != 0:
        pixels = pixels * params.contrast + params.shift
    if params.noise > 0:
        # drawn where the workers draw it, so that it is the same
        noise = noise_of(params, tuple(pixels.shape))
        pixels = pixels + _send(noise, pixels.device)
    return pixels.clamp(0, 1)
