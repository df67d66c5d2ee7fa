"""One self-contained HTML file: no script, no address outside, everything escaped."""

from fuseline.reports.markup import page_environment, style
from fuseline.reports.page_data import ReportData
from fuseline.reports.sections import SECTIONS


def render(data: ReportData) -> str:
    """Return the report as one HTML page: the sections of the registry, in its order.

    Styles are inline, pictures are data URIs, and its content policy forbids scripts and any request, so that the page
    can be mailed or archived. Sections without rows are left out.
    """
    rendered = ((section, section.render(data)) for section in SECTIONS.values())
    sections = [(section, content) for section, content in rendered if content is not None]
    tiles = [section.tiles(data) for section in SECTIONS.values()]
    template = page_environment().get_template("report.html")
    return template.render(css=style(), data=data, sections=sections, tiles=tiles)
