"""The contract every network passes, and equality with independent references."""

import io
import warnings

import pytest
import torch
import torchvision
from torch import Tensor, nn

from resnetkit.errors import UsageError
from resnetkit.models.catalog import architectures, build, spec_of
from resnetkit.models.resnet import ResNet, without_values

TORCHVISION = (
    "resnet18",
    "resnet34",
    "resnet50",
    pytest.param("resnet101", marks=pytest.mark.slow),
    pytest.param("resnet152", marks=pytest.mark.slow),
    pytest.param("wide_resnet50_2", marks=pytest.mark.slow),
    pytest.param("wide_resnet101_2", marks=pytest.mark.slow),
)
SMALL = {"width": 8, "num_classes": 5}
SHALLOW = SMALL | {"blocks": (1, 2, 1, 1)}
# Every kind of block, stem, shortcut, stride placement and activation; the depths people use are below.
KINDS = {
    "resnet18": spec_of("resnet18", **SHALLOW),
    "resnet50": spec_of("resnet50", **SHALLOW),
    "wide_resnet50_2": spec_of("wide_resnet50_2", **SHALLOW),
    "plain18": spec_of("plain18", **SHALLOW),
    "resnet20": spec_of("resnet20", **SMALL),
    "resnet50 v1": spec_of("resnet50", stride="v1", **SHALLOW),
    "resnet50 cifar": spec_of("resnet50", stem="cifar", **SHALLOW),
    "plain20 of 1 channel": spec_of("plain20", in_channels=1, **SMALL),
    "plain bottlenecks": spec_of("resnet50", shortcut="none", **SMALL | {"blocks": (1, 1)}),
    "resnet8_fast": spec_of("resnet8_fast", **SMALL),
    "resnet8_fast, plain": spec_of("resnet8_fast", shortcut="none", in_channels=1, **SMALL),
    "resnet8_fast, relu": spec_of("resnet8_fast", activation="relu", **SMALL),
    "resnet18, gelu": spec_of("resnet18", activation="gelu", **SHALLOW),
    "resnet50, gelu": spec_of("resnet50", activation="gelu", **SHALLOW),
    "odd width, one stage": spec_of("resnet18", **SMALL | {"blocks": (1,), "width": 7}),
    "odd width, shortcut A": spec_of("resnet20", **SMALL | {"blocks": (1, 1), "width": 7}),
}


def randomised(network: nn.Module) -> nn.Module:
    """Fill with random values of the usual sizes, BatchNorm statistics as well."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            bound = (6 / module.weight[0].numel()) ** 0.5
            module.weight.data.uniform_(-bound, bound, generator=generator)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            module.bias.data.uniform_(-0.1, 0.1, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.5, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            module.weight.data.uniform_(0.3, 1.0, generator=generator)
            module.bias.data.uniform_(-0.3, 0.3, generator=generator)
            module.num_batches_tracked.zero_()  # type: ignore[union-attr]
    return network


def torchvision_network(name: str) -> nn.Module:
    """The reference with random values; made without drawing its own first, which takes longest."""
    with torch.device("meta"):
        network = torchvision.models.get_model(name)
    return randomised(network.to_empty(device="cpu")).eval()


@pytest.fixture(params=KINDS, scope="module")
def network(request: pytest.FixtureRequest) -> ResNet:
    network = without_values(KINDS[request.param])
    randomised(network)
    return network


def images(network: ResNet, count: int, size: int) -> Tensor:
    return torch.randn(count, network.spec.in_channels, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [9, 31, 256])
def test_any_size_gives_logits_and_the_stages_that_were_promised(network: ResNet, size: int) -> None:
    network.eval()
    batch = images(network, 2, size)
    with torch.no_grad():
        logits, stages = network(batch), network.features(batch)
    assert logits.shape == (2, 5)
    assert torch.isfinite(logits).all()
    assert list(stages) == [info.name for info in network.feature_info]
    for info in network.feature_info:
        pooled = network.spec.block == "pooled"
        side = (size - 1) // info.stride if pooled else -(-size // info.stride)
        assert stages[info.name].shape == (2, info.channels, side, side)


def test_pictures_need_not_be_square(network: ResNet) -> None:
    with torch.no_grad():
        assert network.eval()(torch.zeros(1, network.spec.in_channels, 40, 12)).shape == (1, 5)


def test_an_image_gives_the_same_logits_in_any_batch(network: ResNet) -> None:
    network.eval()
    batch = images(network, 5, 24)
    with torch.no_grad():
        whole = network(batch)
        alone = torch.cat([network(image[None]) for image in batch])
    torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


def test_no_images_give_no_logits(network: ResNet) -> None:
    with torch.no_grad():
        assert network.eval()(images(network, 0, 16)).shape == (0, 5)


def test_the_last_stage_is_what_the_head_reads(network: ResNet) -> None:
    network.eval()
    batch = images(network, 2, 24)
    with torch.no_grad():
        last = network.features(batch)[network.feature_info[-1].name]
        torch.testing.assert_close(network.fc(network.pool(last).flatten(1)), network(batch))


def test_every_parameter_gets_a_gradient(network: ResNet) -> None:
    network.train()
    network.zero_grad()
    network(images(network, 4, 32)).square().sum().backward()
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            assert network.spec.stem == "whitening", name
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_training_updates_statistics_and_evaluation_does_not(network: ResNet) -> None:
    network.eval()
    norm = network.layer1[0].bn1
    before = norm.running_mean.clone()
    network(images(network, 4, 16))
    assert torch.equal(norm.running_mean, before)
    network.train()(images(network, 4, 16))
    assert not torch.equal(norm.running_mean, before)


def test_a_reloaded_network_gives_the_same_bits(network: ResNet) -> None:
    other = without_values(network.spec)
    other.load_state_dict(network.state_dict())
    batch = images(network, 2, 24)
    with torch.no_grad():
        assert torch.equal(other.eval()(batch), network.eval()(batch))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_scripted_network_gives_the_same_logits(network: ResNet) -> None:
    network.eval()
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(network), buffer)
    buffer.seek(0)
    scripted = torch.jit.load(buffer)
    batch = images(network, 2, 24)
    with torch.no_grad():
        torch.testing.assert_close(scripted(batch), network(batch))


@pytest.mark.parametrize("name", [pytest.param("resnet50", marks=pytest.mark.slow), "odd width, shortcut A"])
def test_an_exported_network_gives_the_same_logits_for_any_batch(name: str) -> None:
    network = ResNet(KINDS[name]).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            network, (images(network, 2, 24),), dynamic_shapes={"images": {0: torch.export.Dim("batch")}}
        )
        exported = program.module()
    batch = images(network, 3, 24)
    with torch.no_grad():
        torch.testing.assert_close(exported(batch), network(batch))


def test_channels_last_gives_the_same_logits(network: ResNet) -> None:
    batch = images(network, 2, 24)
    last = ResNet(network.spec).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    last.load_state_dict(network.state_dict())
    with torch.no_grad():
        ours = last(batch.to(memory_format=torch.channels_last))
        torch.testing.assert_close(ours, network.eval()(batch), rtol=1e-4, atol=1e-4)
        stages = last.features(batch.to(memory_format=torch.channels_last))
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in stages.values())


@pytest.mark.parametrize(
    ("shape", "dtype", "says"),
    [
        ((3, 32, 32), torch.float32, r"add the batch dimension"),
        ((2, 32, 32, 3), torch.float32, r"permute\(0, 3, 1, 2\)"),
        ((2, 1, 32, 32), torch.float32, r"\[N, 3, H, W\], not \[2, 1, 32, 32\].*in_channels=1"),
        ((2, 3), torch.float32, r"\[2, 3\]"),
        ((2, 3, 32, 32), torch.uint8, r"floating-point images, not torch.uint8"),
    ],
)
def test_images_of_another_shape_or_type_are_refused_with_a_hint(
    shape: tuple[int, ...], dtype: torch.dtype, says: str
) -> None:
    network = ResNet(KINDS["resnet18"])
    for read in (network, network.features):
        with pytest.raises(UsageError, match=says):
            read(torch.zeros(shape, dtype=dtype))


@pytest.mark.parametrize("name", [name for name in architectures() if not name.endswith("1202")])
def test_networks_of_every_name_learn_at_any_size(name: str) -> None:
    network = without_values(spec_of(name, **SMALL))
    randomised(network)
    for size in (9 if network.spec.block == "pooled" else 8, 48):
        network.zero_grad()
        network.train()(images(network, 3, size)).square().sum().backward()
        for parameter_name, parameter in network.named_parameters():
            if not parameter.requires_grad:
                continue
            assert parameter.grad is not None, parameter_name
            assert torch.isfinite(parameter.grad).all(), parameter_name
        with torch.no_grad():
            assert torch.isfinite(network.eval()(images(network, 1, size))).all()


# --- references ---


@pytest.mark.parametrize("name", TORCHVISION)
def test_logits_equal_those_of_torchvision(name: str) -> None:
    reference = torchvision_network(name)
    ours = without_values(spec_of(name)).eval()
    assert list(ours.state_dict()) == list(reference.state_dict())
    ours.load_state_dict(reference.state_dict())
    batch = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, actual = reference(batch), ours(batch)
    assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in reference.parameters())


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_same_seed_gives_the_initial_weights_of_torchvision(name: str) -> None:
    torch.manual_seed(5)
    reference = torchvision.models.get_model(name).state_dict()
    torch.manual_seed(5)
    assert all(torch.equal(value, reference[key]) for key, value in build(name).state_dict().items())


@pytest.mark.parametrize(
    ("num_layers", "count"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962)]
)
@pytest.mark.parametrize("family", ["resnet", "plain"])
def test_the_cifar_family_has_the_parameters_of_the_paper(family: str, num_layers: int, count: int) -> None:
    network = without_values(spec_of(f"{family}{num_layers}"))
    assert sum(p.numel() for p in network.parameters()) == count
    assert network.spec.num_layers == num_layers


def section_4_2(state: dict[str, Tensor], x: Tensor, *, num_blocks: int, shortcut: bool) -> Tensor:
    """Section 4.2 of the paper, written from its text with loops over pixels where shortcut A is concerned."""

    def conv_bn(x: Tensor, conv: str, bn: str, stride: int = 1) -> Tensor:
        x = nn.functional.conv2d(x, state[f"{conv}.weight"], stride=stride, padding=1)
        shift, scale = state[f"{bn}.running_mean"], (state[f"{bn}.running_var"] + 1e-5).rsqrt() * state[f"{bn}.weight"]
        return (x - shift[:, None, None]) * scale[:, None, None] + state[f"{bn}.bias"][:, None, None]

    def identity_padded(x: Tensor, channels: int) -> Tensor:
        out = torch.zeros(x.shape[0], channels, x.shape[2] // 2, x.shape[3] // 2)
        before = (channels - x.shape[1]) // 2
        for i in range(out.shape[2]):
            for j in range(out.shape[3]):
                out[:, before : before + x.shape[1], i, j] = x[:, :, 2 * i, 2 * j]
        return out

    x = conv_bn(x, "conv1", "bn1").relu()
    for stage, channels in enumerate((16, 32, 64), start=1):
        for i in range(num_blocks):
            name, stride = f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            out = conv_bn(x, f"{name}.conv1", f"{name}.bn1", stride).relu()
            out = conv_bn(out, f"{name}.conv2", f"{name}.bn2")
            if shortcut:
                out = out + (identity_padded(x, channels) if stride == 2 else x)
            x = out.relu()
    return x.mean(dim=(2, 3)) @ state["fc.weight"].T + state["fc.bias"]


@pytest.mark.parametrize("name", ["resnet20", "plain20"])
def test_the_cifar_family_computes_what_section_4_2_says(name: str) -> None:
    network = randomised(build(name)).eval()
    batch = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = section_4_2(network.state_dict(), batch, num_blocks=3, shortcut=name == "resnet20")
        torch.testing.assert_close(network(batch), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_a_network_without_shortcuts_differs_from_one_with_them() -> None:
    network, plain = build("resnet20").eval(), without_values(spec_of("plain20")).eval()
    plain.load_state_dict(network.state_dict())
    batch = torch.ones(1, 3, 16, 16)
    with torch.no_grad():
        assert not torch.allclose(network(batch), plain(batch))


@pytest.mark.parametrize(("stride", "strided"), [("v1.5", "conv2"), ("v1", "conv1")])
def test_a_bottleneck_halves_where_the_stride_placement_says(stride: str, strided: str) -> None:
    network = without_values(spec_of("resnet50", stride=stride))
    convolutions = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    halving = {name for name, m in convolutions.items() if m.stride == (2, 2)}
    stages = ("layer2", "layer3", "layer4")
    assert halving == {"conv1"} | {f"{s}.0.{part}" for s in stages for part in (strided, "downsample.0")}


def test_stride_placement_v1_equals_torchvision_with_its_strides_moved() -> None:
    reference = torchvision_network("resnet50")
    for stage in (reference.layer2, reference.layer3, reference.layer4):  # type: ignore[union-attr]
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)  # type: ignore[index]
    ours = without_values(spec_of("resnet50", stride="v1")).eval()
    ours.load_state_dict(reference.state_dict())
    batch = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, actual = reference(batch), ours(batch)
    assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()
