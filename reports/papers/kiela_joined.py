"""The page that joins several sweeps into Tables 1 to 5 of Kiela 2018, with what comes of its claims."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.reports.markup import page_environment, style
from fuseline.reports.papers.claims import CLAIMS, Claim, Finding
from fuseline.reports.papers.kiela_data import PaperData
from fuseline.reports.papers.kiela_tables import (
    COMPARED,
    WHOLE,
    Column,
    columns_of,
    counts_table,
    published_column,
    score_table,
    study_column,
    time_table,
    whole_table,
)
from fuseline.reports.papers.published import KIELA, neighbours
from fuseline.reports.sections.tokens import token_cards

PUBLISHED = "published"

CELLS = pa.schema(
    [
        ("paper", pa.string()),
        ("table", pa.string()),
        ("dataset", pa.string()),
        ("source", pa.string()),  # "published", or the name of the sweep
        ("model", pa.string()),
        ("kind", pa.string()),
        ("metric", pa.string()),  # score, f1_micro, minutes, seconds, ratio, extra_correct
        ("value", pa.float64()),  # scores in per cent
        ("std", pa.float64()),  # over the runs; null where there is one
    ]
)

VERDICTS = pa.schema(
    [
        ("claim", pa.int64()),
        ("text", pa.string()),
        ("rule", pa.string()),
        ("dataset", pa.string()),
        ("source", pa.string()),  # "published", or the name of the sweep
        ("verdict", pa.string()),
        ("decided_by", pa.string()),  # the comparison with the smallest margin
        ("margin", pa.float64()),  # how far it is from tipping: points, or times
        ("deviations", pa.float64()),  # the margin in standard deviations; null without any
    ]
)


class ClaimRow(NamedTuple):
    """One claim with what came of it, by column."""

    claim: Claim
    findings: list[tuple[Column, Finding]]

    def held(self, ours: bool) -> str:
        """Return on how many of the data sets that decide it the claim holds: the paper's, or ours."""
        own = [finding.verdict for column, finding in self.findings if (column.source != PUBLISHED) == ours]
        decided = [verdict for verdict in own if verdict != "not measured"]
        return f"{sum('holds' in verdict for verdict in decided)} of {len(decided)}" if decided else "not measured"


def claim_rows(studies: list[PaperData]) -> list[ClaimRow]:
    """Return the claims with what comes of them on the paper's cells and on every sweep."""
    columns = _columns(studies)
    return [ClaimRow(claim, [(column, claim.on(column.scored())) for column in columns]) for claim in CLAIMS]


def verdict_table(studies: list[PaperData]) -> pa.Table:
    """Return VERDICTS."""
    rows = []
    for claim, findings in claim_rows(studies):
        for column, (verdict, margin) in findings:
            row: dict[str, Any] = {"claim": claim.number, "text": claim.text, "rule": claim.rule}
            row |= {"dataset": column.title, "source": column.source, "verdict": verdict}
            if margin is not None:
                row |= {"decided_by": margin.said, "margin": margin.value, "deviations": margin.deviations}
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=VERDICTS)


def cell_table(studies: list[PaperData]) -> pa.Table:
    """Return CELLS: every score and time of the tables, published and ours."""
    rows: list[dict[str, Any]] = []
    for column in _columns(studies):
        table = "4" if column.published == WHOLE else "2"
        place = {"paper": KIELA, "dataset": column.title, "source": column.source}
        unit = "minutes" if column.source == PUBLISHED else "seconds"
        parts = (
            (table, "score", {model: (mean.value, mean.std) for model, mean in column.scores.items()}),
            (table, "f1_micro", {model: (mean.value, mean.std) for model, mean in column.second.items()}),
            (table, "extra_correct", {model: (value, None) for model, value in column.extra.items()}),
            ("3", unit, {model: (value, None) for model, value in column.times.items()}),
            ("3", "ratio", {model: (value, None) for model, value in column.ratios.items()}),
        )
        for number, metric, values in parts:
            for model, (value, std) in values.items():
                row = {**place, "table": number, "model": model, "kind": column.kinds[model], "metric": metric}
                rows.append({**row, "value": value, "std": std})
    return pa.Table.from_pylist(rows, schema=CELLS)


def render_joined(studies: list[PaperData]) -> str:
    """Return the page, without scripts or requests; Table 4 is there when a sweep of the whole of FlickrTag is."""
    parts = [study for study in studies if study.published != WHOLE]
    whole = [study for study in studies if study.published == WHOLE]
    columns = columns_of(parts)
    return (
        page_environment()
        .get_template("kiela_joined.html")
        .render(
            css=style(),
            studies=studies,
            claims=claim_rows(studies),
            columns=_columns(studies),
            counts=counts_table(studies),
            scores=score_table(columns),
            times=time_table(_timed(columns)),
            whole=whole_table([published_column(WHOLE), *map(study_column, whole)]) if whole else None,
            known=neighbours(),
            tokens=[(study.title, cards) for study in studies for cards in _cards(study.tokens)],
            several=any(study.multi_label for study in studies),
        )
    )


def _columns(studies: list[PaperData]) -> list[Column]:
    sets = (*COMPARED, WHOLE) if any(study.published == WHOLE for study in studies) else COMPARED
    return columns_of(studies, sets)


def _timed(columns: Iterable[Column]) -> list[Column]:
    """Return the columns with times, the paper's one before the others."""
    return sorted((column for column in columns if column.times), key=lambda column: column.source != PUBLISHED)


def _cards(tokens: pa.Table) -> list[Any]:
    """Return the clearest tokens of every model that has some."""
    models = sorted(set(tokens["model"].to_pylist()))
    every = (token_cards(tokens.filter(pc.equal(tokens["model"], name)), ranking=[name]) for name in models)
    return [cards for cards in every if cards is not None]
