import pytest
import torch
from torch import Tensor

from resnetkit.models import building
from resnetkit.models.catalog import architectures, build, detector_of, spec_of
from resnetkit.models.layers import activation_elements, layer_table, num_parameters
from resnetkit.models.resnet import without_values

DEEP = ("101", "110", "152", "101_2")
NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name.endswith(DEEP) else name
    for name in architectures()
    if not name.endswith("1202")
]


@pytest.mark.parametrize("name", NAMES)
def test_the_table_counts_to_the_number_in_the_name(name: str) -> None:
    spec = spec_of(name)
    layers = layer_table(spec, (64, 64))
    numbers = [layer.number for layer in layers if layer.number is not None]
    assert numbers == list(range(1, spec.num_layers + 1))
    assert all((layer.number is None) == (layer.why_not is not None) for layer in layers)
    assert num_parameters(layers) == sum(p.numel() for p in without_values(spec).parameters())


def test_the_table_shows_what_the_paper_shows_for_resnet50() -> None:
    layers = {layer.name: layer for layer in layer_table(spec_of("resnet50"), (224, 224))}
    assert layers["conv1"].output == (64, 112, 112)
    assert layers["conv1"].kind == "convolution 7x7, stride 2"
    assert layers["maxpool"].output == (64, 56, 56)
    assert [layers[f"layer{i}.0.conv3"].output[1:] for i in (1, 2, 3, 4)] == [(56, 56), (28, 28), (14, 14), (7, 7)]
    assert layers["layer2.0.conv2"].kind == "convolution 3x3, stride 2"
    assert layers["fc"].output == (1000,)
    assert layers["layer1.0.downsample.0"].number is None
    assert "shortcut" in str(layers["layer1.0.downsample.0"].why_not)


def test_the_table_names_shortcut_a_and_no_pooling_where_there_is_none() -> None:
    layers = {layer.name: layer for layer in layer_table(spec_of("resnet20"), (32, 32))}
    assert layers["layer2.0.downsample"].kind == "subsample and zero-pad, stride 2"
    assert layers["layer2.0.downsample"].parameters == 0
    assert "maxpool" not in layers


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet18", 64), pytest.param("resnet50", 64, marks=pytest.mark.slow), ("resnet20", 32), ("plain20", 32)],
)
def test_the_activations_are_what_training_keeps(name: str, size: int, activation: str) -> None:
    network = build(name, activation=activation)
    kept: dict[int, int] = {}
    parameters = {p.untyped_storage().data_ptr() for p in network.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = network(torch.ones(2, 3, size, size))
    assert logits.requires_grad
    estimate = activation_elements(layer_table(network.spec, (size, size)))
    assert estimate == pytest.approx(sum(kept.values()) / 4 / 2, rel=0.1)


@pytest.mark.parametrize("name", ["fasterrcnn_resnet18_light", "maskrcnn_resnet18_fpn", "maskrcnn_resnet50_fpn_v2"])
def test_the_layers_of_a_detector_hold_all_its_parameters(name: str) -> None:
    spec = detector_of(name, num_classes=3)
    layers = layer_table(spec, (96, 128))
    assert num_parameters(layers) == sum(p.numel() for p in building.without_values(spec).parameters())
    assert sum(layer.number is not None for layer in layers) == spec.num_layers - 1  # there is no classifier
    by_name = {layer.name: layer for layer in layers}
    assert by_name["rpn.head.cls_logits"].output == (3, 2, 2)  # on the last level
    assert by_name["backbone.fpn.layer_blocks.0.0"].output == (spec.channels, 24, 32)
    assert by_name["roi_heads.box_predictor.cls_score"].output == (spec.box_samples, 4)
    if spec.masks:
        assert by_name["roi_heads.mask_predictor.mask_fcn_logits"].output == (spec.box_samples // 4, 4, 28, 28)
