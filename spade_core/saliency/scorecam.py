"""Score-CAM: late feature maps, weighted by the class's score when only they show the picture (Wang et al. 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from spade_core.models.layers import share_copy
from spade_core.progress import span
from spade_core.saliency.base import Method, Task, counted, with_batches
from spade_core.saliency.cam import choose_layer


class ScoreCam(Method):
    """The sum of a late layer's maps, each weighted by the class probability of the picture seen through it.

    As in the authors' code: a map is scaled to 0..1 and multiplies the normalised picture, its weight is the softmax
    probability of the class, constant maps are left out, and the sum is clipped at zero. The paper's text subtracts a
    baseline's score instead. The layer is chosen as for Grad-CAM, on the dense model.
    """

    slug, title, cost, signed, reads_layer = "scorecam", "Score-CAM", "slow", False, True
    architectures = "all with a spatial map"
    help = "Late feature maps weighted by the class's score when only they show the picture (Wang et al. 2020)."

    def attribute(self, task: Task) -> Tensor:
        """Return the class activation map, ``(1, 1, height, width)``, not negative."""
        dense = share_copy(task.dense.module)
        name, layout = choose_layer(dense, task.x, task.target, task.layer)
        task.record["layer"] = name
        x = task.x.detach()
        maps = layout.to_maps(_output_of(task, name, x)).transpose(0, 1)  # (channels, 1, rows, columns)
        spread = maps.amax((2, 3), keepdim=True) - maps.amin((2, 3), keepdim=True)
        alive = (spread > 0).flatten()
        maps, spread = maps[alive], spread[alive]
        shown = (maps - maps.amin((2, 3), keepdim=True)) / spread
        counted(task.module, len(maps) // task.batch_size + 1, span(task.progress, 0.05, 1.0), self.title)
        weights = with_batches(task, lambda batch_size: _scores(task, x, shown, batch_size))
        total = (weights.view(-1, 1, 1, 1) * maps).sum(0, keepdim=True).clamp(min=0)
        return F.interpolate(total, x.shape[-2:], mode="bilinear", align_corners=False)


def _output_of(task: Task, name: str, x: Tensor) -> Tensor:
    seen: list[Tensor] = []
    handle = task.module.get_submodule(name).register_forward_hook(lambda _m, _a, y: seen.append(y.detach()))
    try:
        with torch.no_grad():
            task.module(x)
    finally:
        handle.remove()
    return seen[-1]


def _scores(task: Task, x: Tensor, shown: Tensor, batch_size: int) -> Tensor:
    """Return the target's probability for the picture through each map, ``(channels,)``."""
    found = [x.new_zeros(0)]
    with torch.no_grad():
        for part in shown.split(batch_size):
            window = F.interpolate(part, x.shape[-2:], mode="bilinear", align_corners=False)
            seen = (x * window).contiguous(memory_format=torch.channels_last)
            found.append(task.module(seen).softmax(1)[:, task.target])
    return torch.cat(found)
