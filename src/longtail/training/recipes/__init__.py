"""Recipes: class counts and a setting in, a way to train out. Each public function is one recipe, by its name.

One of one's own is such a function in any file, given as `FILE.py:function`; `first_stage` and the second stages of
`longtail.training.second_stage.rebalance` are what most are made of.
"""

from longtail.training.recipes.baselines import (
    balanced_softmax as balanced_softmax,
    cb_focal as cb_focal,
    ce as ce,
    ce_mixup as ce_mixup,
    equalization as equalization,
    fbl as fbl,
    focal as focal,
    lade as lade,
    logit_adjustment as logit_adjustment,
    pc_softmax as pc_softmax,
)
from longtail.training.recipes.cosines import (
    ala as ala,
    arcface as arcface,
    cosface as cosface,
    gcl as gcl,
    gcl_angular as gcl_angular,
    kps as kps,
    kps_drw as kps_drw,
    kps_ga as kps_ga,
    kps_mixup as kps_mixup,
    ldam_drw as ldam_drw,
)
from longtail.training.recipes.finding import (
    RECIPES as RECIPES,
    RecipeFunction as RecipeFunction,
    find_recipe as find_recipe,
)
from longtail.training.recipes.parts import first_stage as first_stage
from longtail.training.recipes.second_stage import (
    ce_mixup_crt as ce_mixup_crt,
    decoupling as decoupling,
    decoupling_lws as decoupling_lws,
    decoupling_ncm as decoupling_ncm,
    decoupling_tau_norm as decoupling_tau_norm,
    disalign as disalign,
    kps_mislas as kps_mislas,
    mislas as mislas,
    posthoc as posthoc,
)
from longtail.training.recipes.systems import bbn as bbn, gcl_ride as gcl_ride, ride as ride, tde as tde
