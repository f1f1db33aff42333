"""Train a network: `fit(TrainConfig(...))` leaves checkpoints, metrics.csv and logs in a folder.

The loop is here to be read. What comes before it is in setup.py, checkpoints and losses are in
state.py, the samples in batches.py. Devices, precision and several processes come from
lightning-fabric. Order and augmentation depend on (seed, epoch, position) alone, and a checkpoint
holds the position, so that a resumed run goes on exactly."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from paxray_lib.compute.collectives import noting_process
from paxray_lib.compute.fabric import share_buffers
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.evaluation.count import count_dataset
from paxray_lib.images.preprocessing import LEAST_STD
from paxray_lib.labels.expressions import Expression
from paxray_lib.metrics.scores import dice, iou, mean_score
from paxray_lib.models.segmenter import AnatomySegmenter
from paxray_lib.training.checks import in_one_line
from paxray_lib.training.compounds import with_compounds
from paxray_lib.training.config import TrainConfig
from paxray_lib.training.depthwise import depthwise_in_float32
from paxray_lib.training.losses import loss_of_coarse
from paxray_lib.training.optimizer import set_learning_rate
from paxray_lib.training.setup import distribute, set_up
from paxray_lib.training.state import Run


def fit(config: TrainConfig, resume: bool = False) -> Path:
    """Train a network and return the run's folder.

    In each of several processes that torchrun or srun started (see `compute.fabric`), call it with
    the same arguments.

    Parameters
    ----------
    config : TrainConfig
    resume : bool
        Go on from `checkpoints/last.ckpt` if there is one. Settings that matter must be the same,
        the number of processes too; `epochs` may grow, see `checks.check_resumable`.

    Raises
    ------
    FileExistsError
        If the folder holds a training already and `resume` is not set.
    FileNotFoundError, ValueError
        If the data or a setting is wrong, files are missing, or another process trains in the
        folder.
    NotFinite
        If the loss, or a weight when it would be saved, is not finite.
    Stopped
        If a file cannot be read or written once the training has begun, or the memory does not
        suffice.
    KeyboardInterrupt
        By Ctrl-C or a signal: after the step that is under way, whose state is saved. A second one
        comes at once, as one does while images are read or validated.
    """
    with noting_process(), in_one_line(config):
        run = set_up(config, resume)
        network = distribute(
            run, NetworkWithLoss(run.model, config.loss, run.compounds, config.loss_pixels)
        )
        with run.under_way():
            while run.state.epoch < config.epochs:
                with run.whole_steps():
                    train_epoch(run, network)
                scores: dict[str, float | None] = dict.fromkeys(score_names(run.val_sets))
                epoch = run.state.epoch + 1
                if epoch % config.val_every == 0 or epoch == config.epochs:
                    run.save()  # a validation that fails is repeated alone
                    scores |= validate(run)
                run.finish_epoch(scores)
    return run.folder


def train_epoch(run: Run, network: nn.Module) -> None:
    """Take the steps that are left of an epoch."""
    config, fabric, optimizer = run.config, run.fabric, run.optimizer
    network.train()
    for batches in run.steps():
        # dropout: from the position alone, so that a resumed run drops the same
        position = np.random.SeedSequence([config.seed, run.global_step, fabric.global_rank])
        torch.manual_seed(int(position.generate_state(1)[0]))
        set_learning_rate(optimizer, config, run.global_step, len(run.batches))

        losses = []
        for number, batch in enumerate(batches, 1):
            # images (N, h, w) in 0..1, targets (N, h, w, ceil(L / 8)): a bit for each of L labels,
            # known (N, L): which of them are annotated
            is_last = number == len(batches)  # where processes exchange their gradients
            with fabric.no_backward_sync(network, enabled=not is_last):  # type: ignore[arg-type]  # as Fabric made it
                loss = network(batch.images, batch.targets, batch.known) * batch.weight  # scalar
                fabric.backward(loss)  # adds to the gradients
            losses.append(loss.detach())
        if config.gradient_clip:
            fabric.clip_gradients(
                network, optimizer, max_norm=config.gradient_clip, error_if_nonfinite=False
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=config.compile != "graphs")

        run.step_taken(torch.stack(losses).sum())
        if run.save_is_due():
            run.save()


class NetworkWithLoss(nn.Module):
    """Pixels and packed targets to the loss.

    It is one module, since Fabric would cast logits that leave it to float32.
    """

    scale: Tensor
    offset: Tensor

    def __init__(
        self,
        model: AnatomySegmenter,
        loss: str,
        compounds: tuple[Expression, ...] = (),
        loss_pixels: str = "all",
    ):
        super().__init__()
        self.model, self.loss, self.compounds = model, loss, compounds
        self.sparse = loss_pixels == "quarter"
        scale, offset = map(torch.from_numpy, model.preprocessing.affine())  # (3,) each
        # not persistent: checkpoints hold the preprocessing
        self.register_buffer("scale", scale[:, None, None], persistent=False)
        self.register_buffer("offset", offset[:, None, None], persistent=False)

    def forward(self, images: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the mean loss of images (N, h, w) in 0..1 and targets (N, h, w, B).

        Targets are of the model's L labels, then of the compounds.
        """
        inputs = self.normalize(images)  # (N, 3, h, w)
        with depthwise_in_float32(images.device):
            coarse = self.model.coarse(inputs)  # (N, L, h / s, w / s), before the last upsampling
        coarse = with_compounds(coarse, self.compounds)
        if self.sparse:
            row, column = torch.randint(2, (2,)).tolist()
            targets = targets[:, row::2, column::2].contiguous()
        return loss_of_coarse(coarse, targets, self.loss, known)  # scalar

    def normalize(self, images: Tensor) -> Tensor:
        """Return images (N, h, w) in 0..1 as the network's input (N, 3, h, w)."""
        if self.model.preprocessing.kind == "per_image":
            std, mean = torch.std_mean(images, (1, 2), correction=0, keepdim=True)
            images = (images - mean) / (std + LEAST_STD)
        inputs = images[:, None] * self.scale + self.offset
        return inputs.contiguous(memory_format=torch.channels_last)


#: The scores of a validation; `TrainConfig.best` is one of them.
SCORES = ("iou_published", "iou_present", "dice_published", "dice_present")


def score_names(val_sets: list[PaxrayDataset]) -> list[str]:
    """Return the names of a validation's scores: of several data sets the mean, then of each.

    A set without images has none.
    """
    numbers = [n for n, part in enumerate(val_sets, 1) if len(part)] if len(val_sets) > 1 else []
    return [*SCORES, *(f"{name}_{number}" for number in numbers for name in SCORES)]


def validate(run: Run) -> dict[str, float]:
    """Return the scores on the validation images, and save the best checkpoint so far."""
    run.check_weights()
    share_buffers(run.model)
    by_set = [_scores(run, dataset) for dataset in run.val_sets if len(dataset)]
    # the mean over data sets, however many images each has
    means = [mean_score(np.array([some]), "present") for some in zip(*by_set, strict=True)]
    values = sum(by_set, means) if len(run.val_sets) > 1 else by_set[0]
    scores = dict(zip(score_names(run.val_sets), values, strict=True))
    if scores[run.config.best] > run.state.best:
        run.state.best = scores[run.config.best]
        run.save("best")
    return scores


def _scores(run: Run, dataset: PaxrayDataset) -> list[float]:
    threshold, quiet = run.config.threshold, not run.fabric.is_global_zero
    counts = count_dataset(run.model, dataset, threshold=threshold, quiet=quiet)
    metrics = {"iou": iou(counts), "dice": dice(counts)}  # (N, L) each
    parts = [name.split("_") for name in SCORES]
    return [mean_score(metrics[metric], kind, counts.known) for metric, kind in parts]
