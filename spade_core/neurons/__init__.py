"""Neuron visualizations of dense models and traces, on Lucent's parametrization (SPADE, section 4)."""

from spade_core.neurons.layer_values import LOGITS, LayerShape, layer_shapes
from spade_core.neurons.objectives import Neuron
from spade_core.neurons.rendering import RenderConfig, Rendering, render

__all__ = ["LOGITS", "LayerShape", "Neuron", "RenderConfig", "Rendering", "layer_shapes", "render"]
