"""What a section of the report is."""

from collections.abc import Callable
from typing import NamedTuple

from markupsafe import Markup

from fuseline.reports.page_data import ReportData


def _no_tiles(_: ReportData) -> Markup:
    return Markup("")


class Section(NamedTuple):
    """One section: the page gives it its heading and its place, in the order of the registry."""

    kind: str  # its name in the registry, and the anchor that links lead to
    title: str  # in the page's navigation
    summary: str  # one line for `fuseline list sections`
    reads: tuple[str, ...]  # names of the tables that it shows, as in fuseline.stores.tables
    render: Callable[[ReportData], Markup | None]  # what stands below the heading; None leaves the section out
    heading: str = ""  # default: the title
    tiles: Callable[[ReportData], Markup] = _no_tiles  # key figures for the top of the page
