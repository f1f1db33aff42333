"""A model whose decisions can be told beforehand."""

import numpy as np
import torch

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LABELS
from paxray_lib.models.digest import weights_digest

# labels of many pieces: of all others `decide` leaves strays out, of which noise has many
WITH_STRAYS = [LABELS.index(name)[0] for name in ("bones", "ribs", "spine", "lung_left_vessel")]


class Threshold(torch.nn.Module):
    """Label i is where the pixel is brighter than i / 166; the right lung only in the left half of
    the image.
    """

    name = "threshold"

    def __init__(self, size=(32, 24)):
        super().__init__()
        self.labels, self.preprocessing = LABELS, Preprocessing("standard", size)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def preprocess(self, image):
        return self.preprocessing(image)

    def padded(self, height, width):
        return height, width

    def weights_digest(self):
        return weights_digest(self.state_dict().values())

    @torch.no_grad()
    def coarse_logits(self, inputs):
        return self.coarse(torch.from_numpy(np.ascontiguousarray(inputs))).numpy()

    def coarse(self, images):
        gray = images[:, :1] * 0.229 + 0.485
        logits = (gray - torch.arange(166)[None, :, None, None] / 166) * 50 + self.weight
        logits[:, 1, :, images.shape[-1] // 2 :] = -9.0
        return logits
