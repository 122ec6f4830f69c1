"""Systems of several branches or experts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from golden_cases.case import Case

from longtail import losses
from longtail.losses import ClassWeights, Diversity, Objective, OnTarget, PerExpert, Plus, Subtract
from longtail.losses.margins import fourth_root_margin
from longtail.losses.methods.experts import ride as ride_loss


def bbn(case: Case) -> None:
    pytest.skip("not yet: BBN's two branches come with the second stage")
