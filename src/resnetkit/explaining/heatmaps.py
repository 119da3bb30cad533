"""Heat maps: which pixels speak for a class, by Grad-CAM or by covering parts of the picture, through captum."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch

from resnetkit.data.batches import normalise
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, UsageError, missing_extra, near_miss

if TYPE_CHECKING:
    from resnetkit.models.resnet import ResNet

Method = Literal["gradcam", "occlusion"]
METHODS: tuple[Method, ...] = get_args(Method)

# A window an eighth of the side, moved by half of itself: 15 x 15 places.
_WINDOWS_ACROSS = 8
_COVERED_AT_ONCE = 25


class Explainer:
    """Makes heat maps of one network, which stays as it is: everything happens on a copy.

    So no hook, gradient or mode of the library can outlive a call, not even one that is interrupted.
    """

    def __init__(self, network: ResNet, preprocess: Preprocess, *, device: str = "cpu") -> None:
        require_captum()
        self.preprocess, self.device = preprocess, device
        # Parameters need no gradients: those of the stages flow from the picture, which asks for them.
        self.network = copy.deepcopy(network).to(device).float().eval().requires_grad_(False)
        self.network.zero_grad(set_to_none=True)

    def heat(self, pixels: np.ndarray, targets: Sequence[int], *, method: Method = "gradcam") -> np.ndarray:
        """Return float32 `[T, S, S]` in [0, 1]: for each target class, how much each pixel speaks for it.

        `pixels` are `[S, S, C] uint8`, as `Preprocess.pixels` makes them, `targets` indices of classes. Each map is
        divided by its own maximum; one of zeros alone says that nothing in the picture speaks for the class. Raises
        `DataError` where the network's answer is not finite.
        """
        make = {"gradcam": self._gradcam, "occlusion": self._occlusion}[method]
        heat = make(self._images(pixels), list(targets))
        if not torch.isfinite(heat).all():
            raise DataError("the model answers with numbers that are not finite: train it again or use another")
        return _scaled(heat.detach().clamp(min=0)).cpu().numpy()

    def _images(self, pixels: np.ndarray) -> torch.Tensor:
        on_device = torch.from_numpy(pixels[None].copy()).to(self.device)
        return normalise(on_device, self.preprocess, memory_format=torch.contiguous_format)

    def _gradcam(self, images: torch.Tensor, targets: list[int]) -> torch.Tensor:
        """Weigh the last stage's channels by their mean gradient (Selvaraju et al. 2017, arXiv:1610.02391)."""
        from captum.attr import LayerAttribution, LayerGradCam

        layer = self.network.get_submodule(self.network.feature_info[-1].name)
        images = images.repeat(len(targets), 1, 1, 1).requires_grad_()
        with torch.enable_grad():
            coarse = LayerGradCam(self.network, layer).attribute(images, target=targets)
        return LayerAttribution.interpolate(coarse, self.preprocess.frame, interpolate_mode="bilinear")[:, 0]

    def _occlusion(self, images: torch.Tensor, targets: list[int]) -> torch.Tensor:
        """Cover the picture window by window and see how far the class falls (Zeiler and Fergus, arXiv:1311.2901).

        Covered means the mean colour, which is zero for the network. Needs no gradients.
        """
        from captum.attr import Occlusion

        channels, side = images.shape[1], min(images.shape[2:])
        window = max(1, side // _WINDOWS_ACROSS)
        stride = max(1, window // 2)
        occlusion = Occlusion(self.network)
        with torch.no_grad():
            maps = [
                occlusion.attribute(
                    images, target=target, sliding_window_shapes=(channels, window, window),
                    strides=(channels, stride, stride), perturbations_per_eval=_COVERED_AT_ONCE,
                )[0].mean(dim=0)
                for target in targets
            ]  # fmt: skip
        return torch.stack(maps)


def known_method(name: str) -> Method:
    """Return the method of that name; raises `UsageError` where there is none."""
    for method in METHODS:
        if method == name:
            return method
    raise UsageError(f"unknown method {name!r}{near_miss(name, METHODS)} (choose {', '.join(METHODS)})")


def require_captum() -> None:
    """Raise `UsageError` that names the extra where captum is not installed."""
    if not has_captum():
        raise missing_extra("heat maps", "explain")


def has_captum() -> bool:
    """Tell whether the library that makes heat maps is installed."""
    import importlib.util

    return importlib.util.find_spec("captum") is not None


def _scaled(heat: torch.Tensor) -> torch.Tensor:
    """Divide each `[S, S]` map by its maximum; zeros stay zeros."""
    highest = heat.amax(dim=(1, 2), keepdim=True)
    return torch.where(highest > 0, heat / highest.clamp(min=torch.finfo(heat.dtype).tiny), 0.0).float()
