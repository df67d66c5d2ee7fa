"""The page of a sweep: every table of Kiela 2018 beside the published numbers, self-contained and escaped."""

from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from fuseline.reports.figures.frontier import Point, frontier_svg
from fuseline.reports.markup import page_environment, style
from fuseline.reports.measures import Measure, Measures
from fuseline.reports.papers.kiela_data import METRICS, PaperData
from fuseline.reports.sections.tokens import TokenCards, token_cards

SETS = {"food101": "UPMC Food-101", "mmimdb": "MM-IMDB", "flickrtag1": "FlickrTag-1", "flickrtag": "FlickrTag"}
SINGLE = ("accuracy", "f1_macro", "f1_weighted")
SHOWN = 12  # visual tokens per model


def render_paper(data: PaperData) -> str:
    """Return the report as one HTML page without scripts or requests; sections without data are left out."""
    environment = page_environment()
    environment.filters |= {"points": points, "number": number, "mean": mean, "options": options}
    template = environment.get_template("kiela.html")
    return template.render(css=style(), **_content(data))


def frontier_points(data: PaperData) -> list[Point]:
    """Return the models that have a score on test, with what they cost."""
    times = {row["model"]: row["seconds"] for row in data.times.to_pylist()}
    sizes = {row["model"]: row["document_bytes"] for row in data.sizes.to_pylist()}
    metric, found = headline(data), []
    for row in data.scores.to_pylist():
        if row[metric] is not None:
            costs = times.get(row["model"]), sizes.get(row["model"])
            found.append(Point(row["model"], row["kind"], row[metric], row[f"{metric}_std"], *costs))
    return found


def headline(data: PaperData) -> str:
    """Return the metric that models are compared by: that of the choice, where the tables hold it."""
    return data.metric if data.metric in METRICS else "f1_micro" if data.multi_label else "accuracy"


def points(value: float | None, *, sign: bool = True) -> str:
    """Print a difference of fractions in points; nothing for None."""
    return "" if value is None else f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}"


def mean(value: float | None, std: float | None) -> str:
    """Print a fraction in per cent with its standard deviation."""
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
    metric, rows = headline(data), data.scores.to_pylist()
    measures = Measures(data.measures, multi_label=data.multi_label)
    names = {name: measures[name].title for name in (*METRICS, data.metric)}
    choice = measures[data.metric]
    scored = (row for row in rows if row["valid"] is not None)
    chosen = min(scored, key=lambda row: choice.order(row["valid"]), default=None)
    shown = METRICS if data.multi_label else SINGLE
    tops = {name: max((points(row[name], sign=False) for row in rows), key=_value, default="") for name in METRICS}
    figure = frontier_points(data)
    return {
        "data": data,
        "set": SETS.get(data.published or "", ""),
        "table": "Table 4" if data.published == "flickrtag" else "Table 2",
        "metric": metric,
        "choice": choice,
        "names": names,
        "shown": shown,
        "most": SHOWN,
        "scores": sorted(rows, key=lambda row: -1.0 if row[metric] is None else row[metric], reverse=True),
        "tops": tops,
        "chosen": chosen,
        "text": next((row["model"] for row in rows if row["kind"] == "text"), None),
        "pairs": _pairs(data.paired),
        "svg": Markup(_inline(frontier_svg(figure, metric=names[metric]))) if figure else None,  # noqa: S704
        "times": data.times.to_pylist(),
        "sizes": data.sizes.to_pylist(),
        "hidden": data.hidden.to_pylist(),
        "documents": data.data.to_pylist(),
        "gates": data.directions.to_pylist() if data.directions is not None else [],
        "tokens": _cards(data.tokens),
        "grid": grid_rows(data.grid, choice),
        "rates": _rates(data.grid),
    }


def grid_rows(grid: pa.Table | None, measure: Measure) -> list[dict[str, Any]]:
    """Return, per model, how many trials there are and how they ended, and the best on valid for each learning rate."""
    found: dict[str, dict[str, Any]] = {}
    for row in [] if grid is None else grid.to_pylist():
        own = found.setdefault(
            row["model"], {"model": row["model"], "trials": 0, "diverged": 0, "missing": 0, "by": {}}
        )
        own["trials"] += 1
        own["diverged"] += row["status"] == "diverged"
        own["missing"] += row["status"] == "missing"
        value = row[measure.metric]
        if value is not None:
            own["by"][row["lr"]] = min(value, own["by"].get(row["lr"]), key=measure.order)
    return [{**own, "best": min(own["by"].values(), key=measure.order, default=None)} for own in found.values()]


def _cards(tokens: pa.Table) -> list[TokenCards]:
    """Return the clearest tokens of every model that has some."""
    models = sorted(set(tokens["model"].to_pylist()))
    found = (token_cards(tokens.filter(pc.equal(tokens["model"], name)), ranking=[name]) for name in models)
    return [cards for cards in found if cards is not None]


def _rates(grid: pa.Table | None) -> list[float]:
    return sorted(set() if grid is None else set(grid["lr"].drop_null().to_pylist()))


def _pairs(paired: pa.Table) -> tuple[list[str], dict[tuple[str, str], dict[str, Any]]]:
    rows = paired.to_pylist()
    return sorted({row["model"] for row in rows}), {(row["model"], row["other"]): row for row in rows}


def _value(text: str) -> float:
    return float(text) if text else -1.0


def _inline(svg: str) -> str:
    """Return the SVG element alone, without what only a file needs."""
    return svg[svg.index("<svg") :]
