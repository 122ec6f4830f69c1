"""Images with labels: where they come from, how they are split and made long-tailed, how they reach a model."""

from longtail.data.augmenting.augmentation import (
    Augmentation as Augmentation,
    Chain as Chain,
    CropFlip as CropFlip,
    RandomResizedCropFlip as RandomResizedCropFlip,
)
from longtail.data.augmenting.colours import ColourJitter as ColourJitter
from longtail.data.augmenting.policies import AutoAugment as AutoAugment, RandAugment as RandAugment
from longtail.data.images.preprocessing import Preprocessing as Preprocessing
from longtail.data.images.reading import UnreadableImage as UnreadableImage, UnreadableImages as UnreadableImages
from longtail.data.loading.loader import Batch as Batch, Loader as Loader
from longtail.data.open import open_images as open_images
from longtail.data.parts import ImageSet as ImageSet, Part as Part
