"""A network for evaluation, with batch norm folded into the convolutions before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from copy import deepcopy

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def folded(backbone: nn.Module) -> nn.Module:
    """A copy in evaluation mode that gives the same features with fewer steps; the original is untouched.

    In evaluation batch norm is one line per channel, which the convolution before it can draw as well:

        gamma (W x + b - mean) / s + beta = (gamma / s) W x + gamma (b - mean) / s + beta,    s = sqrt(var + eps)

    Only a convolution whose result goes into one batch norm, and nowhere else, takes it in. A network whose
    code cannot be followed without images comes back as it is, in evaluation mode.

    >>> pair = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8))
    >>> folded(pair)[1]
    Identity()
    """
    copy = deepcopy(backbone).eval()
    modules = dict(copy.named_modules())
    for convolution, norm in _pairs(copy):
        copy.set_submodule(convolution, fuse_conv_bn_eval(modules[convolution], modules[norm]))
        copy.set_submodule(norm, _rest(modules[norm]))
    return copy


class _Tracer(fx.Tracer):
    """Follows a network's code; convolutions and norms are single steps, those of timm too."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (*_NORMS, *_CONVOLUTIONS)) or super().is_leaf_module(m, module_qualified_name)


def traced(network: nn.Module) -> fx.Graph | None:
    """The steps that the network takes; None where its code cannot be followed without images."""
    try:
        return _Tracer().trace(network)
    except Exception:  # noqa: BLE001  (whatever a network's code does where it expects images)
        return None


def _pairs(network: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of a convolution and of the batch norm that alone takes its result."""
    graph = traced(network)
    if graph is None:
        return
    modules = dict(network.named_modules())
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    for norm in graph.nodes:
        source = norm.args[0] if norm.op == "call_module" and norm.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) > 1:
            continue
        names = str(source.target), str(norm.target)
        if all(calls[name] == 1 for name in names) and _fits(*(modules[name] for name in names)):
            yield names


def _fits(convolution: nn.Module, norm: nn.Module) -> bool:
    """Whether they are what they seem: a subclass of a convolution may do something else to its weights."""
    return type(convolution) in _CONVOLUTIONS and isinstance(norm, _NORMS) and norm.running_mean is not None


def _rest(norm: nn.Module) -> nn.Module:
    """What a batch norm does beside norming: those of timm drop and activate as well."""
    return nn.Sequential(*(step for name, step in norm.named_children() if name in ("drop", "act"))) or nn.Identity()
