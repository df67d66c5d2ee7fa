"""The tables and the report of a sweep beside the published numbers (Kiela 2018, Tables 1 to 5)."""

from datetime import UTC, datetime

import orjson

from fuseline.flows.experiments.paper_tables import (
    data_table,
    has_several_labels,
    hidden_table,
    measured,
    paired_table,
    score_table,
    size_table,
    time_table,
    token_table,
    varied_table,
)
from fuseline.flows.experiments.tables import Sweep, write_sweep_table
from fuseline.flows.experiments.token_page import publish_tokens
from fuseline.flows.experiments.trials import FOLDER, STUDY, Grid
from fuseline.flows.results.tables import measure_table
from fuseline.reports.figures.frontier import frontier_png, frontier_svg
from fuseline.reports.papers.kiela import frontier_points, headline, render_paper
from fuseline.reports.papers.kiela_data import MachineData, PaperData, StudyFacts
from fuseline.reports.papers.published import reference
from fuseline.stores.published import publishing

READERS = {"food101": "food101", "mmimdb": "mmimdb", "flickrtag": "flickrtag"}  # reader -> published results


def publish_paper(grid: Grid, sweep: Sweep) -> str:
    """Write tables, figure and report under `<root>/sweep/`, and return the report's path."""
    costs, multi_label = measured(grid), has_several_labels(grid)
    published = grid.config.sweep.published or READERS.get(grid.config.source.reader)
    tables = {
        "data": data_table(grid, published),
        "scores": score_table(grid, sweep, published, multi_label=multi_label),
        "paired": paired_table(grid, multi_label=multi_label),
        "times": time_table(grid, costs, published),
        "sizes": size_table(costs),
        "hidden": hidden_table(grid, sweep),
        "varied": varied_table(grid, sweep),
        "tokens": token_table(grid),
    }
    for name, table in {**tables, "published": reference()}.items():
        write_sweep_table(grid.root, name, table)
    machines = (MachineData(cost.machine.processor, cost.machine.cores, cost.machine.system) for cost in costs.values())
    facts = StudyFacts(
        title=grid.config.name,
        created=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        metric=grid.config.sweep.metric,
        multi_label=multi_label,
        published=published,
        complete=sweep.complete,
        line=sweep.line(),
        gates=sweep.gates,
        machine=next(machines, None),
    )
    more = {"results": sweep.results, "trials": sweep.trials, "measures": measure_table()}
    data = PaperData(**vars(facts), **tables, **more)
    root = grid.root
    points = frontier_points(data)
    svg, png, page = (f"{FOLDER}/{name}" for name in ("frontier.svg", "frontier.png", "report.html"))
    with publishing(root, svg, png, page, STUDY):
        root.put(STUDY, orjson.dumps(facts, option=orjson.OPT_INDENT_2))
        if points:
            root.put(svg, frontier_svg(points, headline(data)).encode())
            root.put(png, frontier_png(points, headline(data)))
        root.put(page, render_paper(data).encode())
    publish_tokens(grid, tables["tokens"])
    return root.uri(page)
