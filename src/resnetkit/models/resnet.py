"""The residual network of https://arxiv.org/abs/1512.03385, and a third block made for short trainings."""

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resnetkit.errors import UsageError
from resnetkit.models.spec import MAX_STAGES, FeatureInfo, ResNetSpec


def _conv3x3(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)


def _conv1x1(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)


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

    def __init__(self, spec: ResNetSpec, in_channels: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.has_shortcut = spec.shortcut != "none"
        downsample = _shortcut(spec, in_channels, width, stride=stride)
        self.conv1 = _conv3x3(in_channels, width, stride=stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = _activation(spec)
        self.conv2 = _conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
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

    def __init__(self, spec: ResNetSpec, in_channels: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.has_shortcut = spec.shortcut != "none"
        inner, out_channels = width * spec.widening, width * spec.expansion
        stride1, stride2 = (stride, 1) if spec.stride == "v1" else (1, stride)
        downsample = _shortcut(spec, in_channels, out_channels, stride=stride)
        self.conv1 = _conv1x1(in_channels, inner, stride=stride1)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = _conv3x3(inner, inner, stride=stride2)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = _conv1x1(inner, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = _activation(spec)
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


class PooledBlock(nn.Module):
    """A 3x3 convolution and a 2x2 max-pool, then a 3x3 convolution with a shortcut around it.

    Pooling before normalisation and one convolution on the larger size make it cheap for its accuracy
    (https://arxiv.org/abs/2404.00498, which has no shortcut).
    """

    has_shortcut: Final[bool]

    def __init__(self, spec: ResNetSpec, in_channels: int, width: int) -> None:
        super().__init__()
        self.has_shortcut = spec.shortcut != "none"
        self.conv1 = _conv3x3(in_channels, width)
        self.pool = nn.MaxPool2d(2)
        # A training of 500 steps changes faster than BatchNorm's usual average over 10 batches follows.
        self.bn1 = nn.BatchNorm2d(width, momentum=0.6)
        self.relu = _activation(spec)
        self.conv2 = _conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width, momentum=0.6)
        for norm in (self.bn1, self.bn2):
            norm.weight.requires_grad_(False)  # as in airbench94_muon.py: only shifts are learnt, at high rates

    def initialise(self) -> None:
        """Let the first filters pass their channel on unchanged, so that the signal comes through from the start."""
        nn.init.kaiming_uniform_(self.conv1.weight, a=5**0.5)
        nn.init.kaiming_uniform_(self.conv2.weight, a=5**0.5)
        with torch.no_grad():
            nn.init.dirac_(self.conv1.weight[: self.conv1.in_channels])

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, in_channels, H, W]` to `[N, width, H // 2, W // 2]`."""
        x = self.relu(self.bn1(self.pool(self.conv1(x))))
        out = self.relu(self.bn2(self.conv2(x)))
        return x + out if self.has_shortcut else out


def _activation(spec: ResNetSpec) -> nn.Module:
    """Return what follows a normalisation; the modules keep torchvision's name `relu`."""
    return nn.GELU() if spec.activation == "gelu" else nn.ReLU(inplace=True)


def _shortcut(spec: ResNetSpec, in_channels: int, out_channels: int, *, stride: int) -> nn.Module | None:
    """Return the module on the shortcut, or None where the input itself is added (or nothing is)."""
    if spec.shortcut == "none" or (stride == 1 and in_channels == out_channels):
        return None
    if spec.shortcut == "A":
        return PadShortcut(in_channels, out_channels, stride=stride)
    return nn.Sequential(_conv1x1(in_channels, out_channels, stride=stride), nn.BatchNorm2d(out_channels))


class ResNet(nn.Module):
    """The network a `ResNetSpec` describes, with torchvision's parameter names and initialisation.

    The same seed gives the same initial weights as torchvision. Works on images from 1 pixel up; useful from 8 (pooled
    blocks from 9, and their stages round down).
    """

    __jit_unused_properties__: Final = ["feature_info"]

    def __init__(self, spec: ResNetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.conv1 = _stem_convolution(spec)
        self.bn1 = nn.Identity() if spec.stem == "whitening" else nn.BatchNorm2d(spec.width)
        self.relu = _activation(spec)
        imagenet = spec.stem == "imagenet"
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if imagenet else nn.Identity()
        # A network of fewer stages passes through the others, so that `forward` reads the same for all.
        self.layer1, self.layer2, self.layer3, self.layer4 = _stages(spec)
        # The maximum is worth half a point to a short training (LOG.md) and is what airbench94_muon.py takes.
        self.pool = nn.AdaptiveMaxPool2d((1, 1)) if spec.block == "pooled" else nn.AdaptiveAvgPool2d((1, 1))
        self.fc = classifier(spec)
        if not self.conv1.weight.is_meta:
            self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, PooledBlock):
                module.initialise()
        if self.spec.block == "pooled":  # first answers near zero, so that high rates of the shifts do no harm
            for head in self.fc.modules():
                if isinstance(head, nn.Linear):
                    nn.init.normal_(head.weight, std=1 / self.spec.num_features)
                    nn.init.zeros_(head.bias)

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


def _stem_convolution(spec: ResNetSpec) -> nn.Conv2d:
    if spec.stem == "imagenet":
        return nn.Conv2d(spec.in_channels, spec.width, kernel_size=7, stride=2, padding=3, bias=False)
    if spec.stem == "cifar":
        return _conv3x3(spec.in_channels, spec.width)
    whitening = nn.Conv2d(spec.in_channels, spec.stem_channels, kernel_size=2)
    whitening.weight.requires_grad_(False)
    return whitening


def classifier(spec: ResNetSpec, **made: Any) -> nn.Module:
    """Return the last layer, freshly drawn (`made`: its device and dtype); nothing changes the features of a trunk."""
    return nn.Linear(spec.num_features, spec.num_classes, **made) if spec.num_classes else nn.Identity()


def without_values(spec: ResNetSpec) -> ResNet:
    """Return the network with memory for its weights and no values in it, for weights that are about to be loaded.

    Drawing values that are then overwritten takes longer than reading the file (ResNet-18: 0.1 s against 0.01 s).
    """
    with torch.device("meta"):
        network = ResNet(spec)
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
    stages: list[nn.Module] = []
    in_channels = spec.stem_channels
    for i, (num_blocks, width) in enumerate(zip(spec.blocks, spec.stage_widths, strict=True)):
        stages.append(_stage(spec, in_channels, width, num_blocks, stride=1 if i == 0 else 2))
        in_channels = width * spec.expansion
    return stages + [nn.Identity() for _ in range(MAX_STAGES - len(stages))]


def _stage(spec: ResNetSpec, in_channels: int, width: int, num_blocks: int, *, stride: int) -> nn.Sequential:
    if spec.block == "pooled":
        return nn.Sequential(PooledBlock(spec, in_channels, width))
    block = BasicBlock if spec.block == "basic" else Bottleneck
    first = block(spec, in_channels, width, stride=stride)
    rest = [block(spec, width * spec.expansion, width, stride=1) for _ in range(num_blocks - 1)]
    return nn.Sequential(first, *rest)
