"""The page of a sweep: every table of Kiela 2018 beside the published numbers, self-contained and escaped."""

from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from fuseline.reports.figures.frontier import Point, frontier_svg
from fuseline.reports.markup import page_environment, style
from fuseline.reports.measures import Measure, Measures
from fuseline.reports.papers.kiela_data import METRICS, PaperData
from fuseline.reports.papers.published import SETS, minutes
from fuseline.reports.sections.tokens import TokenCards, token_cards
from fuseline.stores.results import plain

SINGLE = ("accuracy", "f1_macro", "f1_weighted")
SHOWN = 12  # visual tokens per model


def render_paper(data: PaperData) -> str:
    """Return the report as one HTML page without scripts or requests; sections without data are left out."""
    environment = page_environment()
    environment.filters |= {"points": points, "number": number, "published": published, "options": options}
    template = environment.get_template("kiela.html")
    return template.render(css=style(), **_content(data))


def frontier_points(data: PaperData) -> list[Point]:
    """Return the models that have a score on test, with what they cost."""
    times = {row["model"]: row["seconds"] for row in data.times.to_pylist()}
    sizes = {row["model"]: row["document_bytes"] for row in data.sizes.to_pylist()}
    metric = headline(data).metric
    return [
        Point(
            row["model"], row["kind"], row[metric], row[f"{metric}_std"],
            times.get(row["model"]), sizes.get(row["model"]),
        )
        for row in data.scores.to_pylist()
        if row[metric] is not None
    ]  # fmt: skip


def headline(data: PaperData) -> Measure:
    """Return the metric that models are compared by: that of the choice."""
    return Measures(data.measures, multi_label=data.multi_label)[data.metric]


def points(value: float | None) -> str:
    """Print a difference of fractions in points; nothing for None."""
    return "" if value is None else f"{100 * value:+.1f}"


def published(value: float | None, std: float | None) -> str:
    """Print a published fraction in per cent with its standard deviation; nothing for None."""
    if value is None:
        return ""
    return f"{100 * value:.1f}" + ("" if std is None else f" ± {100 * std:.1f}")


def options(text: str | None) -> str:
    """Print the JSON of a point of a grid as name=value pairs; "-" for None and for none."""
    point = orjson.loads(text) if text else {}
    return " ".join(f"{name}={value}" for name, value in point.items()) or "-"


def number(value: float | None) -> str:
    """Print a count or a size with three digits that count; nothing for None."""
    if value is None:
        return ""
    if value >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _content(data: PaperData) -> dict[str, Any]:
    rows, measures = data.scores.to_pylist(), Measures(data.measures, multi_label=data.multi_label)
    choice, trained = headline(data), data.trials.filter(pc.equal(data.trials["phase"], "search"))
    scored = (row for row in rows if row["valid"] is not None)
    shown = [measures[name] for name in dict.fromkeys((*(METRICS if data.multi_label else SINGLE), data.metric))]
    figure = frontier_points(data)
    return {
        "data": data,
        "set": SETS.get(data.published or "", ""),
        "table": "Table 4" if data.published == "flickrtag" else "Table 2",
        "choice": choice,
        "shown": shown,
        "most": SHOWN,
        "scores": sorted(rows, key=lambda row: choice.order(row[choice.metric])),
        "tops": {measure: _top(measure, rows) for measure in shown},
        "chosen": min(scored, key=lambda row: choice.order(row["valid"]), default=None),
        "text": next((row["model"] for row in rows if row["kind"] == "text"), None),
        "pairs": _pairs(data.paired),
        "paired": measures[data.paired["metric"][0].as_py()] if len(data.paired) else None,
        "svg": Markup(_inline(frontier_svg(figure, choice))) if figure else None,  # noqa: S704
        "times": data.times.to_pylist(),
        "minutes": bool(minutes(data.published)),
        "sizes": data.sizes.to_pylist(),
        "hidden": data.hidden.to_pylist(),
        "documents": data.data.to_pylist(),
        "gates": data.gates,
        "varied": data.varied.to_pylist(),
        "right": measures["p_at_1" if data.multi_label else "accuracy"],
        "tokens": _cards(data.tokens),
        "grids": grid_rows(trained, data.results, choice),
        "rates": sorted({rate for text in trained["options"].to_pylist() if (rate := _rate(text)) is not None}),
    }


@dataclass
class GridRow:
    """The trials of one model: how many there are, how they ended, and the best on valid for each learning rate."""

    model: str
    trials: int = 0
    diverged: int = 0
    missing: int = 0
    by_rate: dict[float | None, float] = field(default_factory=dict)
    best: float | None = None


def grid_rows(trials: pa.Table, results: pa.Table, measure: Measure) -> list[GridRow]:
    """Return one row per model of the TRIALS of its grid, with their scores from RESULTS."""
    rows: dict[str, GridRow] = {}
    own = plain(results)
    own = own.filter(pc.and_(pc.equal(own["split"], "valid"), pc.equal(own["metric"], measure.metric)))
    values = {(row["model"], row["options"], row["seed"]): row["value"] for row in own.to_pylist()}
    for trial in trials.to_pylist():
        row = rows.setdefault(trial["model"], GridRow(trial["model"]))
        row.trials += 1
        row.diverged += trial["status"] == "diverged"
        row.missing += trial["status"] == "missing"
        value = values.get((trial["model"], trial["options"], trial["seed"]))
        if value is not None:
            rate = _rate(trial["options"])
            row.by_rate[rate] = min(value, row.by_rate.get(rate, value), key=measure.order)
            row.best = min(value, value if row.best is None else row.best, key=measure.order)
    return list(rows.values())


def _rate(text: str) -> float | None:
    """Return the learning rate of a point of a grid, from its JSON; None where it is no axis."""
    rate: float | None = orjson.loads(text).get("lr")
    return rate


def _top(measure: Measure, rows: list[dict[str, Any]]) -> str:
    """Return the best value of a column as it is printed, so that what looks equal is equally bold."""
    values = [row[measure.metric] for row in rows if row[measure.metric] is not None]
    return measure.text(min(values, key=measure.order)) if values else ""


def _cards(tokens: pa.Table) -> list[TokenCards]:
    """Return the clearest tokens of every model that has some."""
    models = sorted(set(tokens["model"].to_pylist()))
    every = (token_cards(tokens.filter(pc.equal(tokens["model"], name)), ranking=[name]) for name in models)
    return [cards for cards in every if cards is not None]


def _pairs(paired: pa.Table) -> tuple[list[str], dict[tuple[str, str], dict[str, Any]]]:
    rows = paired.to_pylist()
    return sorted({row["model"] for row in rows}), {(row["model"], row["other"]): row for row in rows}


def _inline(svg: str) -> str:
    """Return the SVG element alone, without what only a file needs."""
    return svg[svg.index("<svg") :]
