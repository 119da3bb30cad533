"""What the files of a run say to the items of a checklist, topic by topic: nothing that is not in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from resnetkit.models.checkpoint import Header
from resnetkit.report.checklist import of_data, of_model, of_results
from resnetkit.report.checklist.files import Told, Topics, read
from resnetkit.training.run import RunFolder

TOPICS: Topics = {**of_data.TOPICS, **of_model.TOPICS, **of_results.TOPICS}


def known(
    folder: RunFolder, header: Header, *, headline: Callable[[Mapping[str, Any]], str]
) -> dict[str, tuple[Told, ...]]:
    """Return topic -> values of a run with a model; topics on which its files are silent are not there.

    `headline` says the figures of its task in plain words. Raises `DataError` for a damaged file of the run.
    """
    files = read(folder, header, headline)
    found = {topic: tuple(told(files)) for topic, told in TOPICS.items()}
    return {topic: values for topic, values in found.items() if values}
