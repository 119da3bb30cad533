"""Names of detectors: torchvision's, with any network in the middle. Needs no torch.

`fasterrcnn_resnet50_fpn` and `fasterrcnn_resnet50_fpn_v2` find boxes, `maskrcnn_resnet50_fpn` and its `_v2` find masks
too, and so with every network that has an ImageNet stem: `maskrcnn_resnet18_fpn`. `fasterrcnn_resnet_2223_light` and
`maskrcnn_resnet18_light` are made for CPUs (`DetectorSpec.light`).
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple, cast

from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.models.spec import ResNetSpec

Form = Literal["fpn", "fpn_v2", "light"]

COCO_CLASSES = 90  # numbers of COCO's categories, those that none has included
_NAME = re.compile(r"(fasterrcnn|maskrcnn)_(\w+?)_(fpn_v2|fpn|light)")


class Named(NamedTuple):
    """What the name of a detector says: whether it finds masks, the network in its middle, and how it is made."""

    masks: bool
    arch: str
    form: Form

    def spec(self, backbone: ResNetSpec, *, num_classes: int = COCO_CLASSES, **changes: Any) -> DetectorSpec:
        """Return the detector on a network; raises `UsageError` for unknown changes and one without ImageNet stem."""
        backbone = backbone.changed(num_classes=0)
        if self.form == "light":
            kept = {name: changes.pop(name) for name in ("anchor_sizes", "levels") if name in changes}
            light = DetectorSpec.light(backbone, num_classes=num_classes, masks=self.masks, **kept)
            return light.changed(**changes)
        version: Literal["v1", "v2"] = "v2" if self.form == "fpn_v2" else "v1"
        made = DetectorSpec(backbone=backbone, num_classes=num_classes, masks=self.masks, version=version)
        return made.changed(**changes)

    def __str__(self) -> str:
        return f"{'maskrcnn' if self.masks else 'fasterrcnn'}_{self.arch}_{self.form}"


def named(name: str) -> Named | None:
    """Return what a name says, None for one that is no detector's; the network in its middle may be unknown.

    >>> named("maskrcnn_resnet18_fpn_v2"), named("resnet18")
    (Named(masks=True, arch='resnet18', form='fpn_v2'), None)
    """
    found = _NAME.fullmatch(name)
    return Named(found[1] == "maskrcnn", found[2], cast(Form, found[3])) if found else None


def form_of(spec: DetectorSpec) -> Form | None:
    """Return how a detector is made, whatever its classes, anchors and levels; None where no name says it."""
    for form in ("fpn", "fpn_v2", "light"):
        kept = {name: getattr(spec, name) for name in ("anchor_sizes", "aspect_ratios", "levels", "extra", "epsilon")}
        like = Named(spec.masks, "", form).spec(spec.backbone, num_classes=spec.num_classes, **kept)
        if like == spec:
            return form
    return None
