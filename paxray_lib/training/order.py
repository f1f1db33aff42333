"""Order of images and their augmentation, from seed, epoch and position alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from paxray_lib.data.dataset import EpochSampler

Key = tuple[int, int, int]  # epoch, position, index, as from EpochSampler


@dataclass(frozen=True)
class StepPlan:
    """Which samples each step takes in each process.

    An epoch's order is cut into batches of `batch_size`. A single last image joins the batch before
    it, since BatchNorm cannot learn from one. A step takes the next accumulate x world batches, its
    batch m x world + r in process r. The last batch and the last step may be smaller. Losses are
    weighted so that each image of a step counts the same.

    All processes have equally many batches, since they wait for each other: one that would have
    none takes the step's first images again, two where there are two, with weight 0. (They count in
    BatchNorm's statistics, as any images of a batch do.) With batch_size 1 every batch has one
    image.
    """

    length: int
    seed: int
    batch_size: int
    accumulate: int = 1
    rank: int = 0
    world: int = 1

    @property
    def images(self) -> int:
        """Images of a whole step, over all processes."""
        return self.batch_size * self.accumulate * self.world

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-self._batches(self.length) // (self.accumulate * self.world))

    def images_of(self, steps: int) -> int:
        """Return how many images the first `steps` steps of an epoch take."""
        return self.length if steps >= self.steps else steps * self.images

    def step(self, epoch: int, step: int) -> list[Key]:
        """Return the samples of one step, over all processes."""
        return self._keys(epoch, step, step + 1)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[tuple[list[Key], float]]]:
        """Yield for each step from `start` on this process's batches: samples, and their weight."""
        keys = iter(self._keys(epoch, start, self.steps))
        for step in range(start, self.steps):
            yield self._share(list(islice(keys, self.images_of(step + 1) - self.images_of(step))))

    def _keys(self, epoch: int, start: int, stop: int) -> list[Key]:
        first, end = self.images_of(start), self.images_of(stop)
        return list(islice(EpochSampler(self.length, self.seed, epoch, first), end - first))

    def _batches(self, images: int) -> int:
        """Return the number of batches of so many images."""
        return max(1, -(-(images - (self.batch_size > 1)) // self.batch_size))

    def _share(self, keys: list[Key]) -> list[tuple[list[Key], float]]:
        starts = [batch * self.batch_size for batch in range(self._batches(len(keys)))]
        ends = [*starts[1:], len(keys)]
        batches = [keys[start:end] for start, end in zip(starts, ends, strict=True)]
        own = batches[self.rank :: self.world]
        shares = [(batch, len(batch) * self.world / len(keys)) for batch in own]
        missing = -(-len(batches) // self.world) - len(own)
        return shares + [(keys[: min(2, self.batch_size)], 0.0)] * missing
