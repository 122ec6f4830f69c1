"""Images with labels: where they come from, how they are split and made long-tailed, how they reach a model."""

from longtail.data.augment import Augmentation as Augmentation
from longtail.data.augment import CropFlip as CropFlip
from longtail.data.augment import RandomResizedCropFlip as RandomResizedCropFlip
from longtail.data.loading import Batch as Batch
from longtail.data.loading import Loader as Loader
from longtail.data.open import open_images as open_images
from longtail.data.parts import ImageSet as ImageSet
from longtail.data.parts import Part as Part
from longtail.data.preprocessing import Preprocessing as Preprocessing
from longtail.data.reading import UnreadableImage as UnreadableImage
from longtail.data.reading import UnreadableImages as UnreadableImages
