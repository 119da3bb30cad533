"""A run whose page is written, with errors in it."""

from pathlib import Path

import pytest

import resnetkit as rk
from resnetkit.api import reporting
from resnetkit.cli.demo import write_digits


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> rk.Run:
    place = tmp_path_factory.mktemp("paged")
    write_digits(place / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)  # so that the run names its data from there
        patch.setattr(reporting, "_LEAST_SECONDS", 60.0)  # on a busy machine one picture may take all of the usual
        return rk.train(
            "photos", model="resnet8", epochs=2, limit=150, threads=1, settings=("augment.flip=none",),
            output=Path(place / "runs" / "paged"),
        )  # fmt: skip
