"""Losses for long-tailed classes: `criterion = losses.gcl(counts); loss = criterion(scores, targets)`.

Every method is a function counts -> criterion; its docstring is its card. The parts from which they are composed stand
below them. B samples, C classes, D features.

In a plain PyTorch loop, on 60 samples of one class and 6 of another:

>>> import torch
>>> from torch.utils.data import DataLoader, TensorDataset
>>> from longtail import losses, samplers
>>> from longtail.models.heads import Cosine
>>> _ = torch.manual_seed(0)
>>> labels = torch.tensor([0] * 60 + [1] * 6)
>>> images = torch.randn(66, 8) + labels[:, None]
>>> head, criterion = Cosine(8, 2), losses.gcl(labels)
>>> optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
>>> sampler = samplers.LongTailSampler(labels, samplers.class_balanced(), epochs=5)
>>> for epoch in range(5):
...     sampler.set_epoch(epoch)
...     for features, targets in DataLoader(TensorDataset(images, labels), batch_size=11, sampler=sampler):
...         optimizer.zero_grad()
...         loss = criterion(head(features), targets)
...         loss.backward()
...         optimizer.step()
>>> bool((head.logits(images).argmax(dim=1) == labels)[-6:].all())  # the rare class
True
"""

from longtail.losses.chunked import chunked as chunked
from longtail.losses.criterion import Criterion as Criterion, Total as Total
from longtail.losses.experts import Diversity as Diversity, PerExpert as PerExpert
from longtail.losses.lader import Lader as Lader
from longtail.losses.likelihood import (
    Focus as Focus,
    Sigmoid as Sigmoid,
    SmoothedSoftmax as SmoothedSoftmax,
    Softmax as Softmax,
)
from longtail.losses.methods.clouds import gcl as gcl, gcl_angular as gcl_angular
from longtail.losses.methods.cosines import (
    ala as ala,
    arcface as arcface,
    cosface as cosface,
    kps as kps,
    ldam as ldam,
)
from longtail.losses.methods.experts import ride as ride
from longtail.losses.methods.logits import (
    balanced_softmax as balanced_softmax,
    equalization as equalization,
    equalization_sigmoid as equalization_sigmoid,
    fbl as fbl,
    lade as lade,
    logit_adjustment as logit_adjustment,
    seesaw as seesaw,
)
from longtail.losses.methods.reweighting import (
    class_balanced as class_balanced,
    cross_entropy as cross_entropy,
    deferred_reweighting as deferred_reweighting,
    focal as focal,
    focal_sigmoid as focal_sigmoid,
    generalised_reweighting as generalised_reweighting,
    label_aware_smoothing as label_aware_smoothing,
    weighted_cross_entropy as weighted_cross_entropy,
)
from longtail.losses.objective import ClassWeights as ClassWeights, Objective as Objective
from longtail.losses.plus import Plus as Plus
from longtail.losses.rotation import Rotate as Rotate
from longtail.losses.scaled import Scaled as Scaled
from longtail.losses.steps import Scale as Scale, Stretch as Stretch, Subtract as Subtract
from longtail.losses.where import Everywhere as Everywhere, OffTarget as OffTarget, OnRow as OnRow, OnTarget as OnTarget
