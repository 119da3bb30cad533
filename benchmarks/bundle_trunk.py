"""Make the ImageNet trunk that the package carries out of the file it was published as, tensors unchanged.

    python benchmarks/bundle_trunk.py resnet20-imagenet-trunk.safetensors

The trunk is that of `Microsoft.ML.DnnImageFeaturizer.ResNet18` (MIT), its stem rewritten to read RGB pictures that are
normalised as torchvision does it. The licence lies beside the file as text; the header carries it, so that everything
that derives from these weights does.
"""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path

from resnetkit.data.preprocess import Preprocess
from resnetkit.models import catalog, checkpoint
from resnetkit.models.checkpoint import Header
from resnetkit.models.seen import Seen

FOLDER = Path(__file__).parents[1] / "src/resnetkit/models/bundled"
TARGET = FOLDER / "resnet_2223.imagenet1k.safetensors"
NOTICE = FOLDER / "LICENSE-resnet_2223.txt"
IN_SHORT = (
    "weights: MIT, Copyright (c) .NET Foundation and Contributors; data: ImageNet-1k, whose terms of access allow "
    "non-commercial research and education"
)
DATA = {
    "name": "ImageNet-1k",
    "origin": "ResNet18.onnx of the NuGet package Microsoft.ML.DnnImageFeaturizer.ResNet18 0.23.1, trained with CNTK",
    "address": "https://www.nuget.org/packages/Microsoft.ML.DnnImageFeaturizer.ResNet18/0.23.1",
    "conversion": "convolutions in float16; the stem reads RGB with the usual mean and standard deviation",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trunk", metavar="TRUNK", type=Path)
    parser.add_argument("--output", type=Path, default=TARGET)
    options = parser.parse_args()
    checkpoint.save(options.output, checkpoint.load_tensors(options.trunk), header())
    checkpoint.load(options.output)  # each tensor is one of the network
    print(f"{options.output}: {options.output.stat().st_size:,} bytes")


def header() -> Header:
    return Header(
        spec=catalog.spec_of("resnet_2223", num_classes=0),
        classes=(),
        preprocess=Preprocess(),
        data=DATA,
        trained_on=Seen(why="is ImageNet-1k, whose pictures are not listed"),
        license=f"{IN_SHORT}\n\n{NOTICE.read_text(encoding='utf-8')}",
        version=version("resnetkit"),
    )


if __name__ == "__main__":
    main()
