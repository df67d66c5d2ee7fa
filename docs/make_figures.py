"""Draw docs/dag.svg and docs/dag.png, the stages, and docs/way.svg and docs/way.png, the way of one document.

python docs/make_figures.py docs
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

INK, SOFT, LINE = "#16202c", "#5b6878", "#9fb0c3"
COLOURS = {
    "outside": ("#ffffff", "#c3ccd6"),
    "rows": ("#e8f1ff", "#1f6feb"),  # one shard in, one shard out
    "fitted": ("#fdf1e0", "#d97706"),  # seen by training rows only, then frozen
    "summary": ("#e6f6ee", "#178a57"),  # all shards become one table
}
LEGEND = {
    "rows": "shard by shard, only changed rows are made again",
    "fitted": "fitted on training rows, then frozen",
    "summary": "all shards become one table or page",
}
WIDTH, HEIGHT = 1.62, 0.78


# What one document becomes, from the source to the report, and the modules that do it.
ROW = [
    ("documents", "documents/ingest.py", "id, split, labels, fields"),
    ("clean", "stages/clean.py", "text of the fields"),
    ("detect", "stages/detect.py", "boxes, words, faces"),
    ("embed", "stages/embed.py", "one vector, present"),
    ("quantize", "stages/quantize.py", "visual tokens"),
    ("predictions", "stages/predict.py", "labels and scores"),
]
SHARD, PLACE = 5, 2  # rows of a shard as they are drawn, and that of the document
MIDDLE = 2.55  # height of that row
COLUMN = 2.05


class Box(NamedTuple):
    """One stage: its centre, its words and its kind."""

    x: float
    y: float
    name: str
    words: str
    kind: str


BOXES = [
    Box(0.0, 2.0, "your data", "JSONL, CSV, Parquet,\nimage folders", "outside"),
    Box(2.2, 2.0, "ingest", "documents with\nstable shards", "rows"),
    Box(4.4, 3.0, "clean", "HTML to text,\nnormalised", "rows"),
    Box(4.4, 1.0, "embed image", "EfficientNet-Lite2\n1280 numbers", "rows"),
    Box(6.6, 3.0, "embed text", "MiniLM\n384 numbers", "rows"),
    Box(6.6, 2.0, "codebooks", "PQ and RSPQ", "fitted"),
    Box(6.6, 1.0, "quantize", "vectors to\nvisual tokens", "rows"),
    Box(8.8, 3.0, "train", "text, image, additive,\npq, rspq, ...", "fitted"),
    Box(8.8, 1.0, "predict", "labels, scores,\nmodality shares", "rows"),
    Box(11.0, 3.0, "evaluate", "metrics, statistics,\ngallery", "summary"),
    Box(11.0, 2.0, "report", "one HTML page", "summary"),
    Box(11.0, 1.0, "catalog", "Parquet and DuckDB\nfor analysts", "summary"),
]
PANEL = (3.38, 0.46, 7.62, 3.54)  # left, low, right, high
Point = tuple[float, float]


def main() -> None:
    """Read the folder and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    # Equal bytes for equal drawings: no date, no random names.
    mpl.rcParams.update({"svg.hashsalt": "fuseline", "svg.fonttype": "path", "font.family": "DejaVu Sans"})
    for name, figure in (("dag", draw()), ("way", way())):
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        figure.savefig(folder / f"{name}.png", dpi=110, metadata={"Software": None})


def draw() -> plt.Figure:
    """Return the picture of the DAG."""
    figure = plt.figure(figsize=(13.2, 4.75), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-1.0, 12.0), ylim=(0.02, 3.72))
    axes.axis("off")
    places = {box.name: box for box in BOXES}
    panel(axes)
    for start, end in (
        ("your data", "ingest"), ("ingest", "clean"), ("ingest", "embed image"), ("clean", "embed text"),
        ("embed image", "codebooks"), ("embed image", "quantize"), ("predict", "catalog"), ("predict", "evaluate"),
    ):  # fmt: skip
        sideways(axes, places[start], places[end])
    for start, end in (("codebooks", "quantize"), ("train", "predict"), ("evaluate", "report")):
        downward(axes, places[start], places[end])
    for name in ("train", "predict"):
        reader = places[name]
        arrow(axes, (PANEL[2], reader.y), (reader.x - WIDTH / 2 - 0.03, reader.y))
    for box in BOXES:
        rectangle(axes, box)
    legend(axes)
    return figure


def way() -> plt.Figure:
    """Return the picture of one document's row in every dataset."""
    figure = plt.figure(figsize=(13.2, 4.9), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-2.45, 12.6), ylim=(-1.0, 4.6))
    axes.axis("off")
    lefts = [COLUMN * number for number in range(len(ROW))]
    for left, (name, module, words) in zip(lefts, ROW, strict=True):
        shard(axes, left, name, module, words)
    for left in lefts[:-2]:
        arrow(axes, (left + 1.5, MIDDLE), (left + COLUMN - 0.03, MIDDLE))
    note(axes, -1.6, MIDDLE, "your file", "a reader yields rows", "tasks/readers/", "outside")
    arrow(axes, (-0.79, MIDDLE), (-0.03, MIDDLE))
    training, classifier = lefts[2] + 0.75, lefts[4] + 0.75
    note(axes, training, 0.4, "train rows", "of all shards", "tasks/engine/fit.py", "fitted")
    note(axes, classifier, 0.4, "classifier", "columns to scores", "models/classifiers/", "fitted")
    for left in (training, classifier):
        arrow(axes, (left, 1.5), (left, 0.82))
    arrow(axes, (training + 0.81, 0.4), (classifier - 0.84, 0.4))
    arrow(axes, (classifier + 0.81, 0.4), (lefts[5] + 0.75, 1.5))
    axes.plot([lefts[5] + 1.5, lefts[5] + 1.95], [MIDDLE, MIDDLE], color=LINE, lw=1.6, zorder=2)
    axes.text(lefts[5] + 1.5, 0.4, "results, latest/,\ncatalog, report", size=9.2, color=SOFT, va="center", ha="center")
    arrow(axes, (lefts[5] + 1.95, MIDDLE), (lefts[5] + 1.95, 0.72))
    axes.text(0, 4.3, "row r of shard i is the same document in every dataset; a row that failed stays, with a reason",
              size=11.5, color=SOFT, style="italic")  # fmt: skip
    axes.text(-2.3, -0.78, "tasks/engine/ compares digests per shard and row: only what changed is made again. "
              "stores/ keeps shards, manifests and checkpoints; the record of each is written last.",
              size=9.6, color=SOFT)  # fmt: skip
    return figure


def shard(axes: Axes, left: float, name: str, module: str, words: str) -> None:
    """Draw one shard of a dataset as rows, the document's own in colour."""
    axes.text(left + 0.75, 3.85, name, ha="center", size=12.5, weight="bold", color=INK)
    axes.text(left + 0.75, 3.55, words, ha="center", va="center", size=9.2, color=SOFT)
    for row in range(SHARD):
        face, edge = COLOURS["rows"] if row == PLACE else ("#ffffff", "#d5dde6")
        corner = (left, MIDDLE - 0.135 + 0.3 * (PLACE - row))
        axes.add_patch(FancyBboxPatch(corner, 1.5, 0.27, boxstyle="square,pad=0", fc=face, ec=edge, lw=1.2, zorder=3))
    axes.text(left + 0.75, 1.6, module, ha="center", size=8.2, color=SOFT, family="DejaVu Sans Mono")


def note(axes: Axes, x: float, y: float, name: str, words: str, module: str, kind: str) -> None:
    """Draw a box that is no dataset, with the modules below it."""
    rectangle(axes, Box(x, y, name, words, kind))
    axes.text(x, y - 0.47, module, ha="center", va="top", size=8.2, color=SOFT, family="DejaVu Sans Mono")


def rectangle(axes: Axes, box: Box) -> None:
    """Draw one stage."""
    face, edge = COLOURS[box.kind]
    corner = (box.x - WIDTH / 2, box.y - HEIGHT / 2)
    style = "round,pad=0,rounding_size=0.12"
    axes.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, boxstyle=style, fc=face, ec=edge, lw=1.6, zorder=3))
    axes.text(box.x, box.y + 0.19, box.name, ha="center", va="center", size=12.5, weight="bold", color=INK, zorder=4)
    axes.text(
        box.x, box.y - 0.13, box.words, ha="center", va="center", size=9.2, color=SOFT, zorder=4, linespacing=1.25
    )


def panel(axes: Axes) -> None:
    """Draw the frame around what classifiers read."""
    left, low, right, high = PANEL
    style = "round,pad=0,rounding_size=0.16"
    size = (right - left, high - low)
    axes.add_patch(FancyBboxPatch((left, low), *size, boxstyle=style, fc="#f7f9fc", ec="#d5dde6", lw=1.2, zorder=0))
    axes.text(4.4, 2.11, "feature store", ha="center", va="center", size=11.5, color=SOFT, style="italic", zorder=1)
    axes.text(4.4, 1.87, "row r = document r", ha="center", va="center", size=9.2, color=SOFT, zorder=1)


def sideways(axes: Axes, start: Box, end: Box) -> None:
    """Draw an arrow from the right side of one stage to the left side of another."""
    arrow(axes, (start.x + WIDTH / 2, start.y), (end.x - WIDTH / 2 - 0.03, end.y))


def downward(axes: Axes, start: Box, end: Box) -> None:
    """Draw an arrow from the bottom of one stage to the top of another."""
    arrow(axes, (start.x, start.y - HEIGHT / 2), (end.x, end.y + HEIGHT / 2 + 0.03))


def arrow(axes: Axes, start: Point, end: Point) -> None:
    """Draw a soft S from point to point, or a straight line where they share a coordinate."""
    middle = (start[0] + end[0]) / 2
    soft = start[0] != end[0] and start[1] != end[1]
    points = [start, (middle, start[1]), (middle, end[1]), end] if soft else [start, end]
    path = mpl.path.Path(
        points, [mpl.path.Path.MOVETO, *([mpl.path.Path.CURVE4] * 3 if soft else [mpl.path.Path.LINETO])]
    )
    style = "-|>,head_length=5,head_width=3"
    axes.add_patch(FancyArrowPatch(path=path, arrowstyle=style, color=LINE, lw=1.6, zorder=2))


def legend(axes: Axes) -> None:
    """Say what the colours mean."""
    x = -0.8
    for kind, words in LEGEND.items():
        face, edge = COLOURS[kind]
        axes.add_patch(FancyBboxPatch((x, 0.2), 0.2, 0.16, boxstyle="round,pad=0,rounding_size=0.05", fc=face, ec=edge))
        text = axes.text(x + 0.32, 0.28, words, va="center", size=10, color=SOFT)
        x += 0.85 + 0.078 * len(text.get_text())


if __name__ == "__main__":
    main()
