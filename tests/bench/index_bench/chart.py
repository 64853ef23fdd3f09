"""Curves of recall and latency as an SVG that reads in light and in dark, and the same as a table in Markdown."""

import math
from typing import Any

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 460, 64, 210, 40, 48
COLOURS = ("#0a7d5a", "#1f6feb", "#b3541e", "#8250df", "#c2255c", "#5c7cfa", "#808000", "#2b8a9d", "#a0527f", "#6b7280")
RECALLS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
Run = dict[str, Any]


def at_recall(points: list[list[float]], wanted: float, column: int = 2) -> float | None:
    """Milliseconds at a recall, between the two measured points around it, logarithms interpolated; None where it is not reached.

    Where even the cheapest point has that recall, its own milliseconds. column: 2 of p50, 3 of p95.
    """
    best = None
    points = sorted(points)
    for former, later in zip([None, *points], points, strict=False):
        if later[1] < wanted:
            continue
        value = later[column]
        if former is not None and former[1] < wanted:
            share = (wanted - former[1]) / (later[1] - former[1])
            value = math.exp((1 - share) * math.log(former[column]) + share * math.log(value))
        best = value if best is None else min(best, value)
    return best


def _nines(recall: float) -> float:
    return -math.log10(max(1 - recall, 1e-4))


def svg(runs: list[Run], title: str) -> str:
    """p50 over recall@10; the axis of recall has equal room for 0.9 ... 0.99 and 0.99 ... 0.999."""
    shown = [run | {"points": [point for point in run["points"] if point[1] >= 0.85]} for run in runs]
    shown = [run for run in shown if run["points"]]
    times = [point[2] for run in shown for point in run["points"]]
    low, high = math.floor(math.log10(min(times)) * 3) / 3, math.ceil(math.log10(max(times)) * 3) / 3

    def x(recall: float) -> float:
        return LEFT + (_nines(recall) - _nines(0.85)) / (_nines(0.9999) - _nines(0.85)) * (WIDTH - LEFT - RIGHT)

    def y(milliseconds: float) -> float:
        return HEIGHT - BOTTOM - (math.log10(milliseconds) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" font-size="12">',
        "<style>text{fill:#333}.grid{stroke:#8884}.line{fill:none;stroke-width:2}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>",
        f'<text x="{LEFT}" y="20" font-size="14" font-weight="600">{title}</text>',
    ]
    for recall in (*RECALLS, 0.9999):
        parts.append(f'<line class="grid" x1="{x(recall):.1f}" x2="{x(recall):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{x(recall):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{recall:g}</text>')
    for power in range(-3, 4):
        for step in (1, 2, 5):
            value = step * 10.0**power
            if 10**low <= value * 1.001 and value <= 10**high * 1.001:
                parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
                parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">recall@10</text>')
    parts.append(f'<text transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">p50, ms a query</text>')
    for number, run in enumerate(shown):
        colour = COLOURS[number % len(COLOURS)]
        dash = ' stroke-dasharray="5 4"' if run["peer"] else ""
        places = [(x(point[1]), y(point[2])) for point in sorted(run["points"])]
        line = " ".join(f"{across:.1f},{down:.1f}" for across, down in places)
        parts.append(f'<polyline class="line" stroke="{colour}"{dash} points="{line}"/>')
        parts += [f'<circle cx="{across:.1f}" cy="{down:.1f}" r="2.5" fill="{colour}"/>' for across, down in places]
        row = TOP + 8 + 18 * number
        key = WIDTH - RIGHT + 14
        parts.append(f'<line class="line" stroke="{colour}"{dash} x1="{key}" x2="{key + 24}" y1="{row}" y2="{row}"/>')
        parts.append(f'<text x="{key + 30}" y="{row + 4}">{run["label"]}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def table(runs: list[Run]) -> str:
    head = ["", "build, CPU s", "MB", *(f"recall {recall}: p50 / p95, ms" for recall in (0.95, 0.99)), "best recall"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for run in runs:
        cells = [run["label"], f"{run['build seconds']:.1f}", f"{run['bytes'] / 1e6:.0f}" if run["bytes"] else "–"]
        for recall in (0.95, 0.99):
            p50, p95 = (at_recall(run["points"], recall, column) for column in (2, 3))
            cells.append(f"{p50:.3f} / {p95:.3f}" if p50 else "not reached")
        cells.append(f"{max(point[1] for point in run['points']):.4f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
