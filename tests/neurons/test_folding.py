"""Folded normalizations: the same values with fewer layers, and nothing folded that is read or used elsewhere."""

from __future__ import annotations

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from spade_core.errors import LayerError
from spade_core.neurons.layer_values import read_layers
from spade_core.neurons.passes import fold_norms


class Net(nn.Module):
    """Convolution and normalization, with the ways of using them that forbid folding."""

    def __init__(self, norm: type[nn.Module] = nn.BatchNorm2d, *, twice: bool = False, skip: bool = False) -> None:
        super().__init__()
        self.twice, self.skip = twice, skip
        self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.norm = norm(3)
        self.inner = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1)), nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        z = self.norm(y)
        if self.twice:
            z = z + self.conv(z)
        if self.skip:
            z = z + y
        return self.inner(z).mean((2, 3))


def _net(**options: object) -> Net:
    torch.manual_seed(0)
    net = Net(**options).double().eval()  # type: ignore[arg-type]
    for child in net.modules():
        if isinstance(child, nn.BatchNorm2d):
            for tensor in (child.running_mean, child.weight.data, child.bias.data):
                tensor.normal_()
            child.running_var.uniform_(0.2, 2)
    return net.requires_grad_(False)


X = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _norms(module: nn.Module) -> list[str]:
    return [name for name, child in module.named_modules() if isinstance(child, nn.BatchNorm2d)]


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, BatchNormAct2d])
def test_the_same_values_without_normalizations(norm: type[nn.Module]) -> None:
    net = _net(norm=norm)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    folded = fold_norms(net, X)
    other = torch.randn_like(X)
    torch.testing.assert_close(folded(other), net(other), rtol=1e-10, atol=1e-12)
    assert _norms(folded) == []
    assert _norms(net) == ["norm", "inner.1"]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_the_gradient_of_the_input_is_the_same() -> None:
    net, x = _net(), X.clone().requires_grad_()
    wanted = torch.autograd.grad(net(x)[:, 1].sum(), x)[0]
    found = torch.autograd.grad(fold_norms(net, X)(x)[:, 1].sum(), x)[0]
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("use", ["twice", "skip"])
def test_a_convolution_used_elsewhere_stays(use: str) -> None:
    net = _net(**{use: True})
    folded = fold_norms(net, X)
    torch.testing.assert_close(folded(X), net(X), rtol=1e-10, atol=1e-12)
    assert "norm" in _norms(folded)


@pytest.mark.parametrize("layer", ["conv", "norm", "inner.0.0", "inner.0", "inner.1", "inner"])
def test_what_is_read_stays_what_it_was(layer: str) -> None:
    net = _net()
    folded = fold_norms(net, X, read=[layer])
    with read_layers(net, [layer]) as wanted, read_layers(folded, [layer]) as found:
        net(X), folded(X)
    torch.testing.assert_close(found[layer], wanted[layer], rtol=1e-10, atol=1e-12)


def test_a_normalization_that_computes_something_else_stays() -> None:
    class Doubled(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    net = _net(norm=Doubled)
    folded = fold_norms(net, X)
    torch.testing.assert_close(folded(X), net(X), rtol=1e-10, atol=1e-12)
    assert _norms(folded) == ["norm"]


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(LayerError, match="conv9"):
        fold_norms(_net(), X, read=["conv9"])
