"""ResNetKit: from a folder of pictures to a ResNet you can trust and ship."""

from typing import TYPE_CHECKING, Any

from resnetkit import runtime as _runtime  # noqa: F401 - from here on a fork is noticed, whatever is used when

if TYPE_CHECKING:
    from resnetkit.api import (
        Check,
        Evaluation,
        Explanation,
        Export,
        Model,
        Renamed,
        Run,
        Watched,
        benchmark,
        check,
        compare,
        evaluate,
        explain,
        export,
        load,
        path_of,
        plan,
        predict,
        rename,
        resume,
        runs,
        train,
        watch,
    )

__all__ = [
    "Check", "Evaluation", "Explanation", "Export", "Model", "Renamed", "Run", "Watched",
    "benchmark", "check", "compare", "evaluate", "explain", "export", "load", "path_of", "plan", "predict", "rename",
    "resume", "runs", "train", "watch",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # The command line's --help shall not wait for NumPy and Pillow, which the calls need.
    if name in __all__:
        from resnetkit import api

        return getattr(api, name)
    raise AttributeError(f"module 'resnetkit' has no attribute {name!r}")
