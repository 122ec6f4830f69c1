"""The name of a network's weights: what was made with them can be found again, and with no others."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import nn


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over names, shapes, types and bytes of all parameters and buffers, as hexadecimal digits.

    The device and the order in which the network was built do not matter.

    >>> weights_hash(nn.Identity())[:8]
    'e3b0c442'
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(json.dumps([name, list(tensor.shape), str(tensor.dtype)]).encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
