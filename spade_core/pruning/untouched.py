"""The guard at the end of every trace: the dense model is as it was, and pruned weights lie in memory of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from spade_core.errors import ModelError


class Untouched:
    """What a dense module's tensors were: their places in memory, and how often each was written (PyTorch counts)."""

    def __init__(self, module: nn.Module) -> None:
        self._written = [(name, tensor, tensor._version) for name, tensor in _tensors(module)]

    def check(self, trace: nn.Module, pruned: Iterable[str]) -> None:
        """Compare with now.

        Args:
            trace: the module with the pruned weights; pruned: their names in it.

        Raises:
            ModelError: the dense module was written, or a pruned weight shares its memory.
        """
        dense = {tensor.untyped_storage().data_ptr() for _, tensor, _ in self._written if tensor.numel()}
        shared = [name for name in pruned if trace.get_parameter(name).untyped_storage().data_ptr() in dense]
        written = [name for name, tensor, version in self._written if tensor._version != version]
        if wrong := shared or written:
            reason = "shares memory with it" if shared else "was written"
            raise ModelError(
                f"The trace was given up: {wrong[0]} of the dense model {reason}. "
                "Load the model again, and report this with its architecture."
            )


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)
