"""Which image comes next: sampling by class, the same for any number of processes, from any position on."""

from longtail.samplers.index import LabelIndex as LabelIndex
from longtail.samplers.rules import (
    BY_NAME as BY_NAME,
    cben as cben,
    class_aware as class_aware,
    class_balanced as class_balanced,
    effective_number as effective_number,
    instance as instance,
    progressive as progressive,
    reversed_ as reversed_,
    square_root as square_root,
)
from longtail.samplers.sampling import ByClass as ByClass, Sampling as Sampling
from longtail.samplers.stream import LongTailSampler as LongTailSampler
