"""The residual network of https://arxiv.org/abs/1512.03385."""

from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resnetkit.errors import UsageError
from resnetkit.models.few_places import MANY_FILTERS, FewPlacesConv2d
from resnetkit.models.pooled import PooledBlock, initialise, whitening_stem
from resnetkit.models.spec import MAX_STAGES, Block, Convolution, FeatureInfo, ResNetSpec

_Network = TypeVar("_Network", bound=nn.Module)


def convolution(given: Convolution, **made: Any) -> nn.Conv2d:
    """Return a convolution as a spec describes it, freshly drawn (`made`: its device and dtype)."""
    many = given.channels >= MANY_FILTERS and given.filters[0] == 3
    kind = FewPlacesConv2d if many else nn.Conv2d
    return kind(given.in_channels, given.channels, *given.filters, bias=False, **made)


class PadShortcut(nn.Module):
    """Shortcut A: every `stride`-th pixel, new channels zero-padded half before and half after; no parameters."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        new = out_channels - in_channels
        self.stride = stride
        self.before = new // 2
        self.after = new - new // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, C, H, W]` to `[N, C + before + after, ceil(H / stride), ceil(W / stride)]`."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    has_shortcut: Final[bool]

    def __init__(self, block: Block, activation: nn.Module) -> None:
        super().__init__()
        first, second = block.convolutions
        self.has_shortcut = block.shortcut != "none"
        downsample = _shortcut(block)
        self.conv1 = convolution(first)
        self.bn1 = nn.BatchNorm2d(first.channels)
        self.relu = activation
        self.conv2 = convolution(second)
        self.bn2 = nn.BatchNorm2d(second.channels)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, in_channels, H, W]` to `[N, width, H / stride, W / stride]`."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.has_shortcut:
            identity = x
            if self.downsample is not None:
                identity = self.downsample(x)
            out += identity
        return self.relu(out)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut."""

    has_shortcut: Final[bool]

    def __init__(self, block: Block, activation: nn.Module) -> None:
        super().__init__()
        first, second, third = block.convolutions
        self.has_shortcut = block.shortcut != "none"
        downsample = _shortcut(block)
        self.conv1 = convolution(first)
        self.bn1 = nn.BatchNorm2d(first.channels)
        self.conv2 = convolution(second)
        self.bn2 = nn.BatchNorm2d(second.channels)
        self.conv3 = convolution(third)
        self.bn3 = nn.BatchNorm2d(third.channels)
        self.relu = activation
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, in_channels, H, W]` to `[N, 4 * width, H / stride, W / stride]`."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.has_shortcut:
            identity = x
            if self.downsample is not None:
                identity = self.downsample(x)
            out += identity
        return self.relu(out)


def _activation(spec: ResNetSpec) -> nn.Module:
    """Return what follows a normalisation; the modules keep torchvision's name `relu`."""
    return nn.GELU() if spec.activation == "gelu" else nn.ReLU(inplace=True)


def _shortcut(block: Block) -> nn.Module | None:
    """Return the module on the shortcut, or None where the input itself is added (or nothing is)."""
    in_channels, channels, filters, _ = block.projection
    if block.shortcut == "padded":
        return PadShortcut(in_channels, channels, stride=filters.stride)
    if block.shortcut == "projected":
        return nn.Sequential(convolution(block.projection), nn.BatchNorm2d(channels))
    return None


class ResNet(nn.Module):
    """The network a `ResNetSpec` describes, with torchvision's parameter names and initialisation.

    The same seed gives the same initial weights as torchvision. Works on images from 1 pixel up; useful from 8 (pooled
    blocks from 9, and their stages round down).
    """

    __jit_unused_properties__: Final = ["body", "feature_info"]

    def __init__(self, spec: ResNetSpec) -> None:
        super().__init__()
        self.spec = spec
        stem, is_pooled = spec.stem_convolution, spec.block == "pooled"
        self.conv1 = whitening_stem(stem) if is_pooled else convolution(stem)
        self.bn1 = nn.Identity() if is_pooled else nn.BatchNorm2d(stem.channels)
        self.relu = _activation(spec)
        self.maxpool = nn.MaxPool2d(*stem.pool) if stem.pool else nn.Identity()
        self.layer1, self.layer2, self.layer3, self.layer4 = _stages(spec)
        # The maximum is worth half a point to a short training (LOG.md) and is what airbench94_muon.py takes.
        self.pool = nn.AdaptiveMaxPool2d((1, 1)) if is_pooled else nn.AdaptiveAvgPool2d((1, 1))
        self.fc = classifier(spec)
        if not self.conv1.weight.is_meta:
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if is_pooled:
                initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images `[N, in_channels, H, W]` to logits `[N, num_classes]`; a trunk to `[N, num_features]`.

        Raises `UsageError` for images of another shape or type.
        """
        if not torch.jit.is_scripting():
            self._check_images(images)
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.maxpool(x)
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.layer4(x)
        x = torch.flatten(self.pool(x), 1)
        return self.fc(x)

    @torch.jit.unused
    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Map images to the output of each stage of `feature_info`, by its name.

        >>> {name: tuple(x.shape) for name, x in ResNet(ResNetSpec()).features(torch.ones(2, 3, 64, 64)).items()}
        ... # doctest: +NORMALIZE_WHITESPACE
        {'stem': (2, 64, 32, 32), 'layer1': (2, 64, 16, 16), 'layer2': (2, 128, 8, 8),
         'layer3': (2, 256, 4, 4), 'layer4': (2, 512, 2, 2)}
        """
        self._check_images(images)
        x = self.relu(self.bn1(self.conv1(images)))
        stages = {"stem": x}
        x = self.maxpool(x)
        for stage in self.feature_info[1:]:
            x = self.get_submodule(stage.name)(x)
            stages[stage.name] = x
        return stages

    @property
    def body(self) -> "ResNet":
        """The residual network in a network: here itself."""
        return self

    @property
    def feature_info(self) -> tuple[FeatureInfo, ...]:
        """Name, stride and channels of each stage of `features`."""
        return self.spec.feature_info

    def depths(self) -> dict[str, int]:
        """Return how deep each parameter lies: 0 in the stem, 1, 2, ... in the stages, one more in the head.

        >>> sorted(set(ResNet(ResNetSpec(blocks=(1, 1))).depths().values()))
        [0, 1, 2, 3]
        """
        stages = [stage.name for stage in self.feature_info[1:]]
        depth = {"conv1": 0, "bn1": 0} | {name: number for number, name in enumerate([*stages, "fc"], start=1)}
        return {name: depth[name.split(".")[0]] for name, _ in self.named_parameters()}

    @torch.jit.unused
    def _check_images(self, images: Tensor) -> None:
        shape = tuple(images.shape)
        expected = self.spec.in_channels
        if len(shape) != 4 or shape[1] != expected:
            raise UsageError(
                f"this network reads images [N, {expected}, H, W], not {list(shape)}{_shape_hint(shape, expected)}"
            )
        if self.spec.block == "pooled" and min(shape[2:]) <= 2 ** len(self.spec.blocks):
            raise UsageError(
                f"this network halves its images {len(self.spec.blocks)} times and reads none of {shape[2]}x{shape[3]}"
            )
        if not images.is_floating_point():
            raise UsageError(f"this network reads normalised floating-point images, not {images.dtype}")


def classifier(spec: ResNetSpec, **made: Any) -> nn.Module:
    """Return the last layer, freshly drawn (`made`: its device and dtype); nothing changes the features of a trunk."""
    return nn.Linear(spec.num_features, spec.num_classes, **made) if spec.num_classes else nn.Identity()


def without_values(spec: ResNetSpec) -> ResNet:
    """Return the network with memory for its weights and no values in it, for weights that are about to be loaded.

    Drawing values that are then overwritten takes longer than reading the file (ResNet-18: 0.1 s against 0.01 s).
    """
    with torch.device("meta"):
        network = ResNet(spec)
    return with_memory(network)


def with_memory(network: _Network) -> _Network:
    """Return a network that was made on PyTorch's `meta` device with memory for its weights and no values in it."""
    # `to_empty` does this too, but imports SymPy and half a thousand modules more on its first use (0.3 s).
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            empty = nn.Parameter(torch.empty(parameter.shape), requires_grad=parameter.requires_grad)
            module.register_parameter(name, empty)
        for name, buffer in module.named_buffers(recurse=False):
            # Not left empty: files may lack BatchNorm's counts of batches, and what lies in memory says nothing.
            module.register_buffer(name, torch.zeros(buffer.shape, dtype=buffer.dtype))
    return network


def _shape_hint(shape: tuple[int, ...], expected: int) -> str:
    if len(shape) == 3:
        return ": add the batch dimension with images[None]"
    if len(shape) == 4 and shape[3] == expected:
        return ": channels come second, images.permute(0, 3, 1, 2)"
    if len(shape) == 4:
        return f": convert the images, or build the network with in_channels={shape[1]}"
    return ""


def _stages(spec: ResNetSpec) -> list[nn.Module]:
    made = {"basic": BasicBlock, "bottleneck": Bottleneck, "pooled": PooledBlock}[spec.block]
    stages = [nn.Sequential(*(made(block, _activation(spec)) for block in blocks)) for blocks in spec.stages]
    # A network of fewer stages passes through the others, so that `forward` reads the same for all.
    return [*stages, *(nn.Identity() for _ in range(MAX_STAGES - len(stages)))]
