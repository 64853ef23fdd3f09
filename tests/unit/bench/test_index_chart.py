"""What the index bench computes from what it measured."""

import pytest

from tests.bench.index_bench.chart import at_recall, svg, table

POINTS = [[10, 0.90, 0.1, 0.2], [20, 0.96, 0.2, 0.3], [40, 0.994, 0.4, 0.8]]


def test_latency_at_a_recall():
    assert at_recall(POINTS, 0.96) == pytest.approx(0.2)
    assert at_recall(POINTS, 0.93) == pytest.approx((0.1 * 0.2) ** 0.5)  # half way, of logarithms
    assert at_recall(POINTS, 0.93, 3) == pytest.approx((0.2 * 0.3) ** 0.5)
    assert at_recall(POINTS, 0.5) == 0.1
    assert at_recall(POINTS, 0.999) is None
    assert at_recall([[10, 0.99, 0.5, 1], [20, 0.99, 0.4, 1]], 0.99) == 0.4  # a cheaper one beyond counts


def test_shown_with_their_names():
    measured = {"build seconds": 1.25, "bytes": 2_500_000, "points": POINTS}
    runs = [{"label": label, "peer": peer, **measured} for label, peer in (("ours", False), ("faiss", True))]
    drawn = svg(runs, "clustered")
    assert drawn.count("<polyline") == 2 and drawn.count("stroke-dasharray") == 2 and ">faiss</text>" in drawn
    rows = table(runs).splitlines()
    assert len(rows) == 4 and rows[2].startswith("| ours | 1.2 | 2 | 0.1")
    assert rows[2].endswith("| 0.9940 |")
