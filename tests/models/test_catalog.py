import json
import subprocess
import sys

import pytest
import torchvision

from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import UsageError
from resnetkit.models import catalog, published
from resnetkit.models.catalog import build, default_record, published_header, record, records, spec_of


@pytest.mark.parametrize("name", catalog.architectures())
def test_the_number_in_a_name_is_the_number_of_layers(name: str) -> None:
    assert str(spec_of(name).num_layers) in name or name == "resnet_2223"


def test_the_trunk_s_name_lists_its_blocks_and_is_not_the_resnet20_of_the_paper() -> None:
    assert spec_of("resnet_2223").blocks == (2, 2, 2, 3)
    assert spec_of("resnet_2223").num_layers == spec_of("resnet20").num_layers == 20
    assert catalog.called(spec_of("resnet_2223", num_classes=0)) == "resnet_2223"


@pytest.mark.parametrize("n", [1, 2, 7, 9, 24, 33, 200])
def test_every_6n_plus_2_names_the_cifar_family(n: int) -> None:
    for family, shortcut in (("resnet", "A"), ("plain", "none")):
        spec = spec_of(f"{family}{6 * n + 2}")
        assert (spec.blocks, spec.width, spec.stem, spec.shortcut) == ((n, n, n), 16, "cifar", shortcut)
        assert spec.num_classes == 10


def test_names_that_could_mean_both_are_the_imagenet_networks() -> None:
    assert spec_of("resnet50").stem == spec_of("resnet152").stem == "imagenet"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnt50", "did you mean 'resnet50'"),
        ("ResNet18", "did you mean 'resnet18'"),
        ("resnet19", "did you mean 'resnet18'"),
        ("resnet9", r"did you mean 'resnet8'\?"),
        ("resnet100", "did you mean 'resnet101'"),
        ("resnet57", "did you mean 'resnet56'"),
        ("plain45", "did you mean 'plain44'"),
        ("resnet999999", "did you mean 'resnet999998'"),
        ("resnet2", "no network is called 'resnet2'; did you mean 'resnet8'"),
        ("resnet020", "no network is called 'resnet020'; did you mean 'resnet20'"),
        ("vgg", r"known: resnet18, .*any resnet\{6n\+2\}"),
        ("resnet50.imagenet1k_v1", "the network alone is 'resnet50'"),
    ],
)
def test_an_unknown_network_is_refused_with_the_nearest(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        spec_of(name)


def test_changes_go_to_the_spec() -> None:
    network = build("resnet18", num_classes=3, width=8, stem="cifar")
    assert network.spec == spec_of("resnet18").changed(num_classes=3, width=8, stem="cifar")
    assert network.fc.out_features == 3
    with pytest.raises(UsageError, match="did you mean 'num_classes'"):
        build("resnet18", num_clases=3)


def test_the_records_are_those_of_the_installed_torchvision() -> None:
    stored = json.loads(published.FILE.read_text(encoding="utf-8"))
    assert published.torchvision_records(stored["classes"]) == stored


def test_every_weight_set_of_torchvision_has_its_record() -> None:
    expected = {
        f"{arch}.{weights.name.lower()}": weights
        for arch in published.ARCHITECTURES
        for weights in torchvision.models.get_model_weights(arch)
    }
    ours = {each.name: each for each in records() if each.url}
    assert set(ours) == set(expected)
    for name, weights in expected.items():
        assert ours[name].url == weights.url
        assert ours[name].checksum == f"sha256:{weights.url[-12:-4]}"
        assert ours[name].top1 == pytest.approx(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100)
        resize = 232 if name.endswith("v2") else 256
        assert ours[name].preprocess == Preprocess(resize=resize, size=224)


def test_a_record_describes_the_network_it_is_for() -> None:
    for each in records():
        header = published_header(each)
        assert header.spec.changed(num_classes=spec_of(each.arch).num_classes) == spec_of(each.arch)
        assert (header.spec.num_classes == 0) == (each.top1 is None)
        if each.num_params:
            from resnetkit.models.resnet import without_values

            network = without_values(header.spec)
            assert sum(p.numel() for p in network.parameters()) == each.num_params


def test_class_names_are_unique_and_wordnet_ids_lead_to_them() -> None:
    header = published_header(record("resnet18.imagenet1k_v1"))
    assert len({name.casefold() for name in header.classes}) == 1000
    assert header.classes[264] == header.aliases["n02113186"] == "Cardigan (dog)"
    assert header.classes[474] == header.aliases["n02963159"] == "cardigan (garment)"
    assert header.aliases["n01440764"] == "tench"
    assert list(header.aliases) == sorted(header.aliases)


def test_a_bare_name_means_the_most_accurate_or_the_best_for_transfer() -> None:
    for arch in published.ARCHITECTURES:
        top1 = {each.name: each.top1 or 0 for each in records() if each.arch == arch}
        best = default_record(arch, purpose="accuracy")
        assert best is not None
        assert best.name == max(top1, key=lambda name: top1[name])
        transfer = default_record(arch, purpose="transfer")
        assert transfer is not None
        assert transfer.name == f"{arch}.imagenet1k_v1"
    assert default_record("resnet110", purpose="accuracy") is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet50.imagenet1k_v3", r"did you mean 'resnet50.imagenet1k_v[12]'\?; there are resnet50.imagenet1k_v1, "),
        ("resnet110.imagenet", "no weights are published for 'resnet110'"),
        ("resnet32", r"'resnet32'; train it \(resnetkit train DATA --model resnet32\), or give a file of weights$"),
        ("resnt50.imagenet1k_v1", "no network is called 'resnt50'"),
    ],
)
def test_an_unknown_record_is_refused_with_what_there_is(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        record(name)


def test_names_specs_and_headers_need_no_torch() -> None:
    program = (
        "import sys; sys.modules['torch'] = None; from resnetkit.models import catalog, checkpoint, spec;"
        "catalog.published_header(catalog.default_record('resnet50', purpose='accuracy'))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
