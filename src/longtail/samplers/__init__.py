"""Which image comes next: class-based sampling that is the same for any number of processes, from any position on."""

from longtail.samplers.index import LabelIndex as LabelIndex
from longtail.samplers.rules import cben as cben
from longtail.samplers.rules import class_aware as class_aware
from longtail.samplers.rules import class_balanced as class_balanced
from longtail.samplers.rules import effective_number as effective_number
from longtail.samplers.rules import instance as instance
from longtail.samplers.rules import progressive as progressive
from longtail.samplers.rules import reversed_ as reversed_
from longtail.samplers.rules import square_root as square_root
from longtail.samplers.sampling import ByClass as ByClass
from longtail.samplers.sampling import Sampling as Sampling
from longtail.samplers.stream import LongTailSampler as LongTailSampler
