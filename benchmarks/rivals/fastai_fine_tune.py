"""fastai's `fine_tune(4)` with its defaults: one epoch of the new head, then four of the whole network."""

import time

from fastai.vision import models
from fastai.vision.all import (
    Callback,
    ImageDataLoaders,
    Resize,
    accuracy,
    aug_transforms,
    set_seed,
    vision_learner,
)
from fastai.vision.learner import model_meta
from network import arguments, residual_network, write_row

given = arguments(__doc__)
set_seed(given.seed)


class WriteRow(Callback):
    """Write what the recorder knows after each epoch."""

    order, epochs, evaluating = 60, 0, 0.0  # after the recorder, whose order is 50

    def before_validate(self):
        """Begin to measure."""
        self.begin = time.monotonic()

    def after_validate(self):
        """Keep the seconds."""
        self.evaluating = time.monotonic() - self.begin

    def after_epoch(self):
        """Write the row."""
        self.epochs += 1
        reached = self.learn.recorder.values[-1][-1]
        write_row(given.output, epoch=self.epochs, accuracy=reached, evaluating=self.evaluating)


def trunk(weights=None):
    return residual_network(given.trunk)


model_meta[trunk] = model_meta[models.resnet18]  # cut before the pooling, split after the first stages, statistics
pictures = ImageDataLoaders.from_folder(
    given.data, train="train", valid="val", item_tfms=Resize(460), batch_tfms=aug_transforms(size=given.size)
)
vision_learner(pictures, trunk, metrics=accuracy, cbs=WriteRow()).fine_tune(4)
