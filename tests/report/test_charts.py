"""Charts lie inside their frame, with round numbers beside them."""

import pytest

from resnetkit.report.charts import Axis, Chart, Line, lower, upper


def test_ticks_are_round_and_inside() -> None:
    assert [words for _, words in Axis(label="", low=0, high=1, percent=True).ticks()] == [
        "0", "20", "40", "60", "80", "100",
    ]  # fmt: skip
    assert [words for _, words in Axis(label="", low=1, high=3, whole=True).ticks()] == ["1", "2", "3"]
    assert [words for _, words in Axis(label="", low=1, high=90, whole=True).ticks()] == ["20", "40", "60", "80"]
    assert Axis(label="", low=0.7, high=1, percent=True).ticks()[0][1] == "70"
    for high in (0.013, 0.7, 2.3, 17, 900):
        ticks = [value for value, _ in Axis(label="", low=0, high=upper([high])).ticks()]
        assert ticks[0] == 0
        assert high <= ticks[-1] + 1e-9 <= 2 * high
        assert 3 <= len(ticks) <= 7


@pytest.mark.parametrize(("values", "end"), [([0.96, 0.99], 0.9), ([0.2], 0.1), ([0.02], 0.0), ([], 0.0)])
def test_accuracy_begins_at_a_round_share_below_all(values: list[float], end: float) -> None:
    assert lower(values) == pytest.approx(end)


def test_points_lie_where_the_axes_say() -> None:
    line = Line(name="", points=[(0, 0), (5, 0.5), (10, 3)])
    axes = {"x": Axis(label="", low=0, high=10), "y": Axis(label="", low=0, high=1)}
    chart = Chart(title="", summary="", lines=(line,), **axes)
    middle = (chart.left + chart.right) / 2, (chart.top + chart.bottom) / 2
    points = [tuple(map(float, point.split(","))) for point in chart.path(line).split()]
    assert points == [(chart.left, chart.bottom), middle, (chart.right, chart.top)], "what lies above stays at the edge"
