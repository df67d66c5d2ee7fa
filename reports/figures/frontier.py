"""The frontier figure: a score against training time and against the bytes that a document takes."""

import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fuseline.reports.measures import Measure

INK, SOFT, LINE = "#16202c", "#5b6878", "#dfe4ea"
# Okabe and Ito's colours, which people with any kind of colour blindness tell apart; families differ in shape too.
FAMILIES = {
    "one modality": ("#5b6878", "s"),
    "continuous fusion": ("#0072b2", "o"),
    "discretised": ("#d55e00", "D"),
    "reference": ("#009e73", "^"),
}
KINDS = {
    **dict.fromkeys(("text", "image"), "one modality"),
    **dict.fromkeys(("additive", "max", "gated", "bilinear", "bilinear_gated"), "continuous fusion"),
    **dict.fromkeys(("pq", "rspq"), "discretised"),
}
LABEL = 0.043  # height of a label, as a share of the panel
WIDE, HIGH = 11.0, 5.0  # inches


class Point(NamedTuple):
    """One model."""

    model: str
    kind: str
    score: float  # on test, as in the results table
    std: float | None
    seconds: float | None  # of training
    document_bytes: float | None


def frontier_svg(points: Sequence[Point], measure: Measure) -> str:
    """Return the figure as SVG text that asks for nothing; equal points give equal text."""
    return _drawn(points, measure, "svg").decode("utf-8")


def frontier_png(points: Sequence[Point], measure: Measure) -> bytes:
    """Return the figure as PNG."""
    return _drawn(points, measure, "png")


def best_so_far(points: Sequence[tuple[float, float]], measure: Measure) -> list[tuple[float, float]]:
    """Return those (cost, score) that no cheaper or equally cheap one reaches, by rising cost."""
    kept: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], measure.order(point[1]))):
        if not kept or measure.better(score, kept[-1][1]):
            kept.append((cost, score))
    return kept


def spread_out(heights: Sequence[float], *, gap: float) -> list[float]:
    """Return heights in the same order, moved apart as little as need be so that neighbours are `gap` apart."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    groups: list[list[float]] = []  # [sum of wished starts, members]
    for place, i in enumerate(order):
        groups.append([heights[i] - place * gap, 1])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] > groups[-1][0] / groups[-1][1]:
            wished, members = groups.pop()
            groups[-1][0] += wished
            groups[-1][1] += members
    starts = [wished / members for wished, members in groups for _ in range(int(members))]
    moved = list(heights)
    for place, i in enumerate(order):
        moved[i] = starts[place] + place * gap
    return moved


def _drawn(points: Sequence[Point], measure: Measure, form: str) -> bytes:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "fuseline",
        "font.family": "DejaVu Sans",
        "font.size": 10,
    }
    points = [
        point._replace(score=measure.scale * point.score, std=None if point.std is None else measure.scale * point.std)
        for point in points
    ]
    with mpl.rc_context(style):
        figure = Figure(figsize=(WIDE, HIGH), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, sharey=True)
        _panel(left, points, measure, lambda point: point.seconds, "training time, seconds (median of the fits)")
        _panel(right, points, measure, lambda point: point.document_bytes, "bytes per document, as the model reads it")
        left.set_ylabel(f"{measure.title} on test" + (", %" if measure.per_cent else ""), color=INK)
        _legend(figure, points)
        stream = io.BytesIO()
        metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
        figure.savefig(stream, format=form, dpi=150, facecolor="white", metadata=metadata)
    return stream.getvalue()


def _panel(
    axes: Any, points: Sequence[Point], measure: Measure, cost: Callable[[Point], float | None], words: str
) -> None:
    """Draw one panel: costs on a logarithmic axis, the frontier as steps, every model with its name."""
    shown = [(value, point) for point in points if (value := cost(point)) is not None and value > 0]
    axes.set_xscale("log")
    axes.set_xlabel(words, color=INK)
    axes.grid(color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(colors=SOFT, length=0, which="both")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    if not shown:
        return
    low, high = min(value for value, _ in shown), max(value for value, _ in shown)
    span = max(high / low, 4.0)
    edge = high * span**0.1  # where names begin
    axes.set_xlim(low / span**0.06, edge * span**0.36)
    frontier = best_so_far([(value, point.score) for value, point in shown], measure)
    xs, ys = [x for x, _ in frontier], [y for _, y in frontier]
    axes.step([*xs, high], [*ys, ys[-1]], where="post", color=SOFT, linewidth=1.2, alpha=0.5, zorder=1)
    for value, point in shown:
        colour, shape = FAMILIES[family(point.kind)]
        axes.errorbar(
            value, point.score, yerr=point.std, fmt=shape, color=colour, markersize=7, markeredgecolor="white",
            markeredgewidth=0.8, elinewidth=1.2, zorder=3,
        )  # fmt: skip
    _names(axes, shown, edge)


def _names(axes: Any, shown: Sequence[tuple[float, Point]], edge: float) -> None:
    """Write the names in a column that begins at `edge`, moved apart, each with a line from its mark."""
    bottom, top = axes.get_ylim()
    gap = LABEL * (top - bottom)
    heights = spread_out([point.score for _, point in shown], gap=gap)
    for (value, point), height in zip(shown, heights, strict=True):
        colour = FAMILIES[family(point.kind)][0]
        axes.plot([value, edge], [point.score, height], color=colour, linewidth=0.6, alpha=0.45, zorder=2)
        axes.text(edge, height, f" {point.model}", color=colour, va="center", fontsize=9.5, parse_math=False)
    axes.set_ylim(min(bottom, min(heights) - gap), max(top, max(heights) + gap))


def _legend(figure: Any, points: Sequence[Point]) -> None:
    from matplotlib.lines import Line2D

    there = {family(point.kind) for point in points}
    marks = [
        Line2D([], [], linestyle="", marker=shape, color=colour, markersize=7, label=name)
        for name, (colour, shape) in FAMILIES.items()
        if name in there
    ]
    steps = Line2D([], [], color=SOFT, linewidth=1.2, alpha=0.5, label="nothing cheaper is better")
    figure.legend(handles=[*marks, steps], loc="outside upper left", ncols=5, frameon=False, labelcolor=INK)


def family(kind: str) -> str:
    """Return the family of a kind of model."""
    return KINDS.get(kind, "reference")
