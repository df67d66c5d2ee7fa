"""The tables and the report of a sweep beside the published numbers (Kiela 2018, Tables 1 to 5)."""

from datetime import UTC, datetime

from fuseline.flows.experiments.paper_tables import (
    data_table,
    hidden_table,
    paired_table,
    score_table,
    size_table,
    time_table,
    token_table,
)
from fuseline.flows.experiments.tables import Sweep, write_sweep_table
from fuseline.flows.experiments.trials import FOLDER, Grid
from fuseline.flows.results.tables import measure_table
from fuseline.reports.figures.frontier import frontier_png, frontier_svg
from fuseline.reports.papers.kiela import frontier_points, render_paper
from fuseline.reports.papers.kiela_data import PaperData
from fuseline.reports.papers.published import reference
from fuseline.stores.published import publishing

READERS = {"food101": "food101", "mmimdb": "mmimdb", "flickrtag": "flickrtag"}  # reader -> published results


def publish_paper(grid: Grid, found: Sweep) -> str:
    """Write tables, figure and report under `<root>/sweep/`, and return the report's path."""
    finals = {name: grid.rows(grid.finals(name)) for name in grid.names}
    rows = {name: [row for row in trials if row["status"] == "ok"] for name, trials in finals.items()}
    timings = {name: grid.rows(grid.timings(name)) for name in grid.names}
    facts = {name: trials[0]["facts"] for name, trials in timings.items() if trials and trials[0]["status"] == "ok"}
    published = grid.config.sweep.published or READERS.get(grid.config.source.reader)
    multi_label = any(row["facts"].get("multi_label") for trials in rows.values() for row in trials)
    tables = {
        "data": data_table(grid, published),
        "scores": score_table(grid, rows, published, multi_label=multi_label),
        "paired": paired_table(grid, multi_label=multi_label),
        "times": time_table(grid, facts),
        "sizes": size_table(facts),
        "hidden": hidden_table(grid, rows),
        "tokens": token_table(grid),
    }
    for name, table in {**tables, "published": reference()}.items():
        write_sweep_table(grid, name, table)
    data = PaperData(
        title=grid.config.name,
        created=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        metric=grid.config.sweep.metric,
        multi_label=multi_label,
        published=published,
        complete=found.complete,
        line=found.line(),
        directions=found.directions,
        grid=found.grid,
        measures=measure_table(),
        machine=next((told["machine"] for told in facts.values()), {}),
        **tables,
    )
    root = grid.root
    points = frontier_points(data)
    svg, png, page = (f"{FOLDER}/{name}" for name in ("frontier.svg", "frontier.png", "report.html"))
    with publishing(root, svg, png, page):
        if points:
            root.put(svg, frontier_svg(points, metric=data.metric).encode())
            root.put(png, frontier_png(points, metric=data.metric))
        root.put(page, render_paper(data).encode())
    return root.uri(page)
