"""Stacked bars of what each modality contributed, a modality in one colour wherever it appears."""

from fuseline.reports.page_data import ReportData

COLOURS = 5  # that the style sheet knows


def modality_colours(data: ReportData) -> dict[str, int]:
    """Return modality -> colour number of every modality that has a share anywhere."""
    names = {row["modality"] for row in data.rows("importance")}
    names |= {part["modality"] for row in data.rows("gallery") for part in row["importance"] or ()}
    return {name: number % COLOURS for number, name in enumerate(sorted(names))}
