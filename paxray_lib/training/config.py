"""Settings of a training."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from paxray_lib.data.augmentation import AugmentConfig
from paxray_lib.data.union import DataSource, DataSources, both_named
from paxray_lib.models.config import PUBLISHED
from paxray_lib.training.losses import LOSSES
from paxray_lib.utils.errors import check_choice

# The upper limits are far beyond what helps, and below what hangs, overflows or fills the memory
Count = Annotated[int, Field(gt=0, le=1_000_000)]
CountOrZero = Annotated[int, Field(ge=0, le=1_000_000)]
Text = Annotated[str, Field(min_length=1)]
Milestones = Annotated[tuple[CountOrZero, ...], Field(max_length=100)]
Positive = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


@dataclass(frozen=True)
class TrainConfig(AugmentConfig):
    """Settings of a training run: those of `AugmentConfig`, and the following.

    The defaults are the published recipe (see the profile paxray_full.yaml).

    Attributes
    ----------
    data_root, datafile : str
        The data set, as for `PaxrayDataset`.
    data : tuple of DataSource
        Several data sets in place of these two, see `data.union`: the network has the labels of all
        of them. An epoch draws as many images as they have together, by their weights.
    run_dir : str
        Folder that receives checkpoints/, metrics.csv and logs/.
    architecture, encoder, encoder_weights : str
        As for `build_model`.
    init_from : str or None
        A model, by file or name ("open"), whose weights the network starts from, in place of
        encoder_weights; see `models.transfer.start_from`.
    preprocessing : str
        Kind of `Preprocessing` of a new network; "auto": "published" for the published one, else
        "standard".
    image_size : int
        In pixels. Images are resized to a square of this size, later the network's input.
    crop_size : int
        In pixels; side of the random crops that the network is trained with.
    batch_size : int
        Images that pass through the network at once, in each process. The last batch of an epoch
        may have one more, since a single last image joins the batch before it.
    accumulate : int
        Batches whose gradients are summed for one step. A step takes
        batch_size x accumulate x processes images.
    epochs : int
        Passes over the training split.
    learning_rate, weight_decay : float
        Of AdamW. Parameters named "bias" take twice the rate and no decay, as published.
    schedule : str
        "multistep" (times lr_gamma at the epochs lr_milestones) or "onecycle" (up, then down to
        nothing).
    loss : str
        "published", "present", or another key of `losses.LOSSES`.
    loss_pixels : str
        "all", or "quarter": the loss of each step is that of the pixels of every other row and
        column, which are drawn; about half the time of a U-Net's step on a CPU.
    threshold : float
        A pixel has a label where its sigmoid is greater.
    best : str
        Validation score that chooses best.ckpt; of several data sets the mean over them.
    val_every : int
        Epochs between validations; the last epoch is always validated.
    save_every : int
        Steps between checkpoints besides the one at the end of each epoch; 0 for none.
    log_every : int
        Steps between entries of the log.
    gradient_clip : float
        Largest norm of the gradient, 0 for no limit.
    seed : int
        Of weights, order, augmentation and dropout.
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps".
    precision : str
        "auto" (bfloat16 where the hardware has it), "float32" or "bfloat16".
    compile : str
        "off", "kernels" (torch.compile: minutes at the start, then faster) or "graphs" (CUDA
        graphs besides).
    workers : int
        Processes that read samples during the training, where the set does not fit into memory.

    Raises
    ------
    ValueError
        If a value is none of these.
    """

    data_root: Text = "data/sample"
    datafile: Text = "paxray.json"
    data: DataSources = ()
    run_dir: Text = "runs/train"
    architecture: str = PUBLISHED
    encoder: str = "resnet50"
    encoder_weights: str | None = None
    init_from: Text | None = None
    preprocessing: Literal["auto", "published", "standard", "per_image"] = "auto"
    batch_size: Count = 3
    accumulate: Count = 1
    epochs: Count = 110
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 1e-4
    schedule: Literal["multistep", "onecycle"] = "multistep"
    lr_milestones: Milestones = (60, 90, 100)
    lr_gamma: Positive = 0.1
    loss: str = "published"
    loss_pixels: Literal["all", "quarter"] = "all"
    threshold: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.5
    best: Literal["iou_published", "iou_present", "dice_published", "dice_present"] = (
        "dice_published"
    )
    val_every: Count = 10
    save_every: CountOrZero = 0
    log_every: Count = 20
    gradient_clip: NotNegative = 0.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: Literal["off", "kernels", "graphs"] = "off"
    workers: Annotated[int, Field(ge=0, le=256)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.loss, LOSSES, "loss")
        if self.data:
            first = {"data_root": self.data[0].root, "datafile": self.data[0].datafile}
            for key, value in first.items():
                if (given := getattr(self, key)) not in (value, getattr(TrainConfig, key)):
                    raise ValueError(both_named(key, given))
                object.__setattr__(self, key, value)
        if self.init_from and self.encoder_weights:
            raise ValueError(
                f"init_from {self.init_from!r} and encoder_weights {self.encoder_weights!r}: both "
                "say what the encoder starts from; set one of them to null"
            )

    @property
    def sources(self) -> tuple[DataSource, ...]:
        """The data sets, one or more."""
        return self.data or (DataSource(self.data_root, self.datafile),)

    @property
    def last_checkpoint(self) -> Path:
        """The file that a training is resumed from."""
        return Path(self.run_dir) / "checkpoints" / "last.ckpt"

    def to_dict(self) -> dict:
        """Return the settings as a checkpoint or a YAML file holds them: tuples become lists."""
        return json.loads(json.dumps(asdict(self)))
