"""One self-contained HTML file: no script, no address outside, everything escaped."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from fuseline.reports.page_data import ReportData
from fuseline.reports.sections import costs, results, tokens
from fuseline.reports.sections import rows as sections

FOLDER = Path(__file__).parent


def render(data: ReportData) -> str:
    """Return the report as one HTML page.

    Styles are inline, pictures are data URIs, and its content policy forbids scripts and any request, so that the page
    can be mailed or archived. The model shown in detail is the best one on valid, so that test stays unseen until the
    end. Sections without data are left out.
    """
    template = page_environment().get_template("report.html")
    return template.render(css=Markup((FOLDER / "report.css").read_text("utf-8")), **_content(data))  # noqa: S704


def page_environment() -> Environment:
    """Return where pages are rendered: everything escaped, an unknown name is an error."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"breakable": breakable, "duration": duration, "percent": percent, "size": size}
    return environment


def breakable(name: str) -> Markup:
    """Let a long name break after its slashes, underscores and dots."""
    text = str(escape(name))
    for sign in "/_":
        text = text.replace(sign, f"{sign}<wbr>")
    return Markup(text)  # noqa: S704 - escaped above


def duration(seconds: float) -> str:
    """Print seconds the way people say them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def percent(share: float) -> str:
    """Print a share in per cent."""
    return f"{100 * share:.1f}\u00a0%"


def size(number: float, unit: str = "") -> str:
    """Print a count with three digits and k, M or G."""
    for power, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= power:
            return f"{number / power:.3g}\u00a0{sign}{unit}"
    return f"{number:.3g}\u00a0{unit}".rstrip("\u00a0")


def _content(data: ReportData) -> dict[str, Any]:
    """Choose the best model and make every section's rows."""
    best = results.best_model(data.metrics, multi_label=data.multi_label)
    tables = results.result_tables(data.metrics, baseline=data.baseline, multi_label=data.multi_label)
    ranking = results.ranking(data.metrics, multi_label=data.multi_label)
    split = tables[0].split if tables else "test"
    chosen = {"model": best or "", "split": split}
    return {
        "data": data,
        "best": best,
        "split": split,
        "tables": tables,
        "names": results.NAMES,
        "fractions": results.FRACTIONS,
        "lower": results.LOWER_IS_BETTER,
        "winner": next((row for row in tables[0].rows if row.model == best), None) if tables else None,
        "ticks": _ticks(tables[0].rows) if tables else [],
        "dataset": sections.data_table(data.statistics),
        "sources": sections.source_rows(data.statistics),
        "source_fields": sections.SOURCE_FIELDS,
        "presence": sections.presence_rows(data.presence),
        "published": data.published.to_pylist(),
        "classes": sections.class_rows(data.classes, **chosen),
        "heat": sections.heat_map(data.confusion, **chosen),
        "confusions": sections.top_confusions(data.confusion, **chosen),
        "examples": sections.examples(data.gallery, model=best or ""),
        "sheet": sections.sheet_rows(data.contact_sheet),
        "importance": sections.importance_rows(data.importance, split=split),
        "colours": sections.modality_colours(data.importance, data.gallery),
        "costs": costs.cost_rows(data.models, tables[0] if tables else None, baseline=data.baseline),
        "tokens": tokens.token_cards(data.tokens, ranking=ranking),
        "codebooks": tokens.codebooks(data.drift),
        "stages": data.stages.to_pylist(),
        "quarantine": sections.quarantine_counts(data.quarantine),
        "quarantined": sections.quarantine_first(data.quarantine),
        "kinds": KINDS,
    }


KINDS = {
    "right": ("Right", "Chosen by a seeded draw."),
    "confident_error": ("Most confident errors", "Wrong with the highest score: look here for label noise."),
    "wrong": ("Other wrong ones", "Chosen by a seeded draw."),
}


def _ticks(rows: Sequence[results.Row]) -> list[float]:
    """Return round values that span the intervals of the rows, for the axis of the figure."""
    values = [value for row in rows for value in (row.low, row.high, row.cells[0].value) if value is not None]
    if not values:
        return []
    low, high = min(values), max(values)
    step = next(size for size in (0.01, 0.02, 0.05, 0.1, 0.2) if (high - low) / size <= 6)
    first = math.floor(low / step + 1e-9)
    count = math.ceil(high / step - 1e-9) + 1 - first
    return [round((first + number) * step, 4) for number in range(count)]
