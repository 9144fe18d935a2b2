"""What a baseline puts in the place of the dense model's parameters, and the network that it makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spade_core.models.layers import share_copy
from spade_core.models.loaded import LoadedModel, Network
from spade_core.pictures.picture import Picture
from spade_core.pruning.report import Fidelity
from spade_core.pruning.trace import measure_fidelity


@dataclass(frozen=True, eq=False)
class Baseline(Network):
    """A network that was made of a folder, on one picture.

    Attributes:
        model: the dense model, unchanged; module: shares all tensors with it but the replaced ones.
        sparsity: zeros over all prunable weights; fidelity: predictions compared on the picture.
    """

    model: LoadedModel
    module: nn.Module
    sparsity: float
    fidelity: Fidelity


@dataclass(frozen=True, eq=False)
class Replacement:
    """Parameters, on the CPU, that take the place of a model's.

    Attributes:
        parameters: name -> values, of the parameter's shape and dtype.
        sparsity: zeros over all prunable weights of the network that has them, 0 to 1.
    """

    parameters: Mapping[str, Tensor]
    sparsity: float

    @classmethod
    def of(cls, model: LoadedModel, parameters: Mapping[str, Tensor]) -> Replacement:
        """Keep ``parameters``, and count the zeros that the model has with them."""
        names = [layer.parameter for layer in model.layers]
        weights = [parameters[name] if name in parameters else model.module.get_parameter(name) for name in names]
        zeros = sum(int((weight == 0).sum()) for weight in weights)
        kept = {name: value.detach().cpu().clone() for name, value in parameters.items()}
        return cls(kept, zeros / sum(weight.numel() for weight in weights))

    def on(self, model: LoadedModel, picture: Picture, target: int) -> Baseline:
        """Return a copy of ``model`` with the parameters, and how it does on one picture."""
        module = share_copy(model.module, own=self.parameters)
        with torch.no_grad():
            for name, values in self.parameters.items():
                module.get_parameter(name).copy_(values)
        return Baseline(model, module, self.sparsity, measure_fidelity(model, module, picture, target))
