"""A network for evaluation on a processor, with ReLU and shortcut taken into the convolutions before them."""

from __future__ import annotations

import operator
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from longtail.models.folding import traced

_RELU = (nn.ReLU, torch.relu, torch.relu_, functional.relu, "relu", "relu_")
_ADD = (operator.add, operator.iadd, torch.add, "add", "add_")


class Rectified(nn.Module):
    """relu(W x + b + shortcut) without gradient; the shortcut is lost."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    @torch.no_grad()
    def forward(self, maps: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Maps (B, D, H, W), and a shortcut that broadcasts to the result."""
        layer, onednn = self.convolution, torch.ops.mkldnn
        how = (layer.weight, layer.bias, layer.padding, layer.stride, layer.dilation, layer.groups)
        maps = maps.contiguous(memory_format=torch.channels_last)
        if shortcut is None:
            result: Tensor = onednn._convolution_pointwise(maps, *how, "relu", [], "")
        elif shortcut.shape == _result_shape(layer, maps):
            place = shortcut.contiguous(memory_format=torch.channels_last)
            result = onednn._convolution_pointwise_.binary(place, maps, *how, "add", 1.0, "relu", [], "")
        else:
            result = torch.relu(layer(maps) + shortcut)
        return result


def _result_shape(layer: nn.Conv2d, maps: Tensor) -> tuple[int, ...]:
    padding = cast("tuple[int, int]", layer.padding)
    sides = zip(maps.shape[2:], padding, layer.dilation, layer.kernel_size, layer.stride, strict=True)
    return len(maps), layer.out_channels, *((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in sides)


_FRESH = (nn.Conv2d, Rectified, nn.MaxPool2d, functional.pad)  # whose results are nobody else's


def fused(network: nn.Module) -> nn.Module:
    """A network that is folded and in evaluation mode, in fewer steps and without gradient.

    oneDNN's convolutions can add a shortcut and cut off what is negative while a result is still in the registers; it
    is rounded once then, instead of three times. The original is untouched, but shares its weights. What does not fit,
    and a network whose code cannot be followed without images, stays as it is.

    >>> fused(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()))
    GraphModule(
      (0): Rectified(
        (convolution): Conv2d(3, 8, kernel_size=(1, 1), stride=(1, 1))
      )
    )
    """
    graph = traced(network)
    if graph is None:
        return network
    rewriting = _Rewriting(network, graph)
    for node in list(graph.nodes):
        rewriting.visit(node)
    return rewriting.result() or network


class _Rewriting:
    """A network's steps, while some of them are put together."""

    def __init__(self, network: nn.Module, graph: fx.Graph) -> None:
        self._graph = graph
        self._parts: dict[str, Any] = {**dict(network.named_modules()), **network.state_dict(keep_vars=True)}

    def result(self) -> nn.Module | None:
        """The network of the steps as they are now; None if nothing was put together."""
        changed = any(isinstance(part, Rectified) for part in self._parts.values())
        return fx.GraphModule(self._parts, self._graph).eval() if changed else None

    def visit(self, node: fx.Node) -> None:
        """Leave a step out that does nothing; put a ReLU together with what comes before it."""
        if self._is(node, nn.Identity):
            node.replace_all_uses_with(cast("fx.Node", node.args[0]))
            self._graph.erase_node(node)
        elif self._is(node, *_RELU):
            self._rectify(node, node.args[0])

    def _rectify(self, relu: fx.Node, inside: Any) -> None:
        """ReLU of a convolution, or of the sum of a convolution and a shortcut, happens where the convolution does."""
        terms = inside.args if self._is_sum(inside) else (inside,)
        for convolution, *shortcut in (terms, terms[::-1]):
            if self._serves(convolution) and all(self._may_go(each, convolution, inside) for each in shortcut):
                self._parts[convolution.target] = Rectified(self._parts[convolution.target])
                with self._graph.inserting_before(convolution):
                    both = self._graph.call_module(convolution.target, (*convolution.args, *shortcut))
                relu.replace_all_uses_with(both)
                for node in dict.fromkeys((relu, inside, convolution)):
                    self._graph.erase_node(node)
                return

    def _is_sum(self, node: Any) -> bool:
        """Whether two different results are added, as they are, with one use for the sum."""
        return self._is(node, *_ADD) and len(node.users) == 1 and not node.kwargs and node.args[0] is not node.args[1]

    def _serves(self, node: Any) -> bool:
        """Whether this is a convolution that is carried out once, with one use for its result."""
        if not self._is(node, nn.Conv2d) or len(node.users) > 1 or node.kwargs:
            return False
        layer = self._parts[node.target]
        calls = [each for each in self._graph.nodes if each.op == "call_module" and each.target == node.target]
        plain = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        return len(calls) == 1 and plain and _works(layer.weight.dtype)

    def _may_go(self, shortcut: Any, convolution: fx.Node, total: fx.Node) -> bool:
        """Whether there is a shortcut before the convolution that nobody else needs later, or has a view of."""
        alone = self._is(shortcut, *_FRESH) or (self._is(shortcut, *_RELU) and len(shortcut.args[0].users) == 1)
        others = [user for user in shortcut.users if user is not total] if alone else []
        convolved = all(self._is(user, nn.Conv2d, Rectified) for user in others)
        return alone and convolved and all(node < convolution for node in (shortcut, *others))

    def _is(self, node: Any, *kinds: Any) -> bool:
        """Whether a step calls a module of one of these types, or one of these functions or methods."""
        if not isinstance(node, fx.Node) or node.op not in ("call_module", "call_function", "call_method"):
            return False
        return (type(self._parts[str(node.target)]) if node.op == "call_module" else node.target) in kinds


@cache
def _works(dtype: torch.dtype) -> bool:
    """Whether this torch has the operations, which it does not promise."""
    layer, maps = Rectified(nn.Conv2d(8, 8, 3, padding=1, dtype=dtype)), torch.ones(1, 8, 3, 3, dtype=dtype)
    try:
        layer(maps, layer(maps))
    except (AttributeError, RuntimeError):
        return False
    return True
