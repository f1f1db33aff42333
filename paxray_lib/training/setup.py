"""Everything before the first step of a training: data, device, network, optimizer, a resume."""

from collections.abc import Mapping
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from paxray_lib.compute.collectives import local_device
from paxray_lib.compute.devices import find_device
from paxray_lib.compute.fabric import choose_precision, make_fabric
from paxray_lib.compute.launch import find_launch
from paxray_lib.data.union import DatasetUnion, open_sources
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LabelSet
from paxray_lib.models import AnatomySegmenter, build_model, load_model, read_extra
from paxray_lib.models.config import PUBLISHED
from paxray_lib.models.transfer import start_from
from paxray_lib.training.batches import StepPlan, TrainingBatches, TrainingSet
from paxray_lib.training.checks import (
    check_data,
    check_folder,
    check_resumable,
    check_validation,
    data_digests,
)
from paxray_lib.training.config import TrainConfig
from paxray_lib.training.optimizer import make_optimizer
from paxray_lib.training.state import Run, State
from paxray_lib.utils.errors import naming_errors

#: Options of torch.compile, by the setting `compile`.
COMPILE_OPTIONS: dict[str, dict] = {"kernels": {}, "graphs": {"mode": "reduce-overhead"}}
_NO_RESUME = "a training cannot go on from it"


def set_up(config: TrainConfig, resume: bool) -> Run:
    """Return a training ready for its next step; for errors see `loop.fit`."""
    sources = open_sources(config.sources)
    train_sets = sources.train
    for pair in zip(train_sets, sources.val, strict=True):
        check_data(*pair, config.flip_prob > 0)
    check_validation(sources.val)
    data = data_digests(train_sets, sources.val)
    train_set = DatasetUnion(train_sets) if config.data else train_sets[0]
    device = find_device(local_device(config.device))
    precision = choose_precision(config.precision, device)
    if config.compile == "graphs" and device.type != "cuda":
        raise ValueError(
            f"compile 'graphs' needs an NVIDIA GPU, and this is {device}; use 'kernels' or 'off'"
        )
    # before processes join: after that the first one may write
    saved = _read_checkpoint(config, resume, precision, data)
    fabric = make_fabric(config.device, config.precision)
    model, start = _make_model(config, fabric, sources.labels, resumed=bool(saved))
    optimizer = make_optimizer(model, config)
    samples = TrainingSet(train_set, model.preprocessing, config, config.seed)
    sizes = (len(train_set), config.seed, config.batch_size, config.accumulate)
    parts = tuple(
        (len(part), source.weight) for part, source in zip(train_sets, config.sources, strict=True)
    )
    plan = StepPlan(*sizes, fabric.global_rank, fabric.world_size, parts)
    batches = TrainingBatches(samples, plan, fabric.device, config.workers)
    state = State()
    if saved:
        state = _restore(optimizer, saved, config.last_checkpoint)
        start = f"resumed at epoch {state.epoch + 1}, step {state.step}"
    made = (model, tuple(sources.compounds.values()), optimizer, batches, sources.val)
    run = Run(config, fabric, precision, *made, data, state)
    run.log.say(_announcement(run))
    for line in _data_lines(run):
        run.log.say(line)
    if start:
        run.log.say(start)
    return run


def _read_checkpoint(
    config: TrainConfig, resume: bool, precision: str, data: dict[str, str]
) -> dict:
    """Return what to resume from, empty for a new training."""
    check_folder(config, resume)
    if not config.last_checkpoint.exists():
        return {}
    saved, processes = read_extra(config.last_checkpoint), find_launch().world
    try:
        check_resumable(saved, config, processes=processes, precision=precision, data=data)
    except (KeyError, TypeError, AttributeError) as error:
        path, kind = config.last_checkpoint, type(error).__name__
        raise ValueError(
            f"{path}: {_NO_RESUME} ({kind}: {error}); put that of the training back"
        ) from error
    return saved


def _restore(optimizer: torch.optim.Optimizer, saved: Mapping, path: Path) -> State:
    """Give the optimizer its saved state, and return the training's; ValueError if one is wrong."""
    with naming_errors(path, _NO_RESUME):
        if "optimizer" not in saved:
            raise ValueError("it holds no optimizer, as a best.ckpt")
        optimizer.load_state_dict(saved["optimizer"])
        for parameter, own in optimizer.state.items():
            # the fused step does not look
            if any(value.ndim and value.shape != parameter.shape for value in own.values()):
                raise ValueError("its optimizer is that of another network")
        return State(**saved["state"])


def _make_model(
    config: TrainConfig, fabric: Fabric, labels: LabelSet, resumed: bool
) -> tuple[AnatomySegmenter, str]:
    """Return the network, and in a line what it starts from, if that is a model."""
    start = ""
    # a download of the encoder's weights, once per machine
    with fabric.rank_zero_first(local=True):
        model = load_model(config.last_checkpoint) if resumed else new_model(config, labels)
    if config.init_from and not resumed:
        start = start_from(model, config.init_from)
    crop = config.crop_size
    if model.padded(crop, crop) != (crop, crop):
        # the padded border would be at a place where the whole image later has pixels, and was
        # never trained there
        multiple = model.padded(1, 1)[0]
        raise ValueError(f"crop_size {crop}: {model.name} needs a multiple of {multiple}")
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model.to(fabric.device).to(memory_format=torch.channels_last), start


def new_model(config: TrainConfig, labels: LabelSet) -> AnatomySegmenter:
    """Return the network that a training begins with."""
    torch.manual_seed(config.seed)
    kind = config.preprocessing
    if kind == "auto":
        kind = "published" if config.architecture == PUBLISHED else "standard"
    preprocessing = Preprocessing(kind, (config.image_size, config.image_size))
    return build_model(
        config.architecture, labels, config.encoder, config.encoder_weights, preprocessing
    )


def _announcement(run: Run) -> str:
    """Say what is trained, on what, and where its samples are."""
    config, plan, train_set = run.config, run.batches.plan, run.batches.samples.dataset
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    parts = f"{config.batch_size} x {config.accumulate} accumulated x {plan.world} processes"
    memory = f"kept in memory ({run.batches.samples.bytes / 2**30:.1f} GiB)"
    samples = memory if run.batches.in_memory else "read from disk in each epoch"
    return (
        f"{run.model.name}, {parameters / 1e6:.1f} M parameters, {len(run.model.labels)} labels, "
        f"{config.image_size} px (crops of {config.crop_size}); "
        f"{len(train_set)} training and {sum(map(len, run.val_sets))} validation images; "
        f"{config.epochs} epochs of {plan.steps} steps, {plan.images} images per step"
        f"{'' if plan.images == config.batch_size else f' ({parts})'}; "
        f"{run.fabric.device}, {run.precision}; training images {samples}"
    )


def _data_lines(run: Run) -> list[str]:
    """Say of each of several data sets what it has, and how often it is drawn."""
    if not run.config.data:
        return []
    total = sum(weight for _, weight in run.batches.plan.parts)
    lines: list[str] = []
    for (size, weight), val_set in zip(run.batches.plan.parts, run.val_sets, strict=True):
        source = val_set.datafile
        scored = "" if len(val_set) else ", so that it is not scored"
        lines.append(
            f"data set {len(lines) + 1}: {source.path}, {len(source.labels)} labels, {size} "
            f"training and {len(val_set)} validation images{scored}; "
            f"{weight / total:.1%} of the draws"
        )
    return lines


def distribute(run: Run, module: nn.Module) -> nn.Module:
    """Compile a module, and let Fabric bring it to the device, its precision and all processes."""
    if run.config.compile != "off":
        # the last batch of an epoch may have another size: compiled once more, rather than all for
        # any size
        module = torch.compile(module, dynamic=False, **COMPILE_OPTIONS[run.config.compile])  # type: ignore[assignment]  # a module in, a module out
    network, run.optimizer = run.fabric.setup(module, run.optimizer)
    if run.config.compile == "graphs":
        # gradients live outside of the graphs' memory, which the next batch overwrites
        for parameter in run.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
    return network
