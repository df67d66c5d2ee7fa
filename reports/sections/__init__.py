"""The registry of the report's sections, in the order in which the page has them."""

from fuseline.plugins import Registry
from fuseline.reports.section import Section
from fuseline.reports.sections import (
    classes,
    codebooks,
    codes,
    comparisons,
    conditions,
    costs,
    data,
    decisions,
    detections,
    examples,
    folds,
    groups,
    importance,
    lineage,
    maps,
    matrices,
    options,
    quarantine,
    results,
    run,
    tokens,
    who_is_right,
)

OURS = (
    results.SECTION,
    folds.SECTION,
    comparisons.SECTION,
    conditions.SECTION,
    groups.SECTION,
    decisions.SECTION,
    costs.SECTION,
    options.SECTION,
    data.SECTION,
    classes.SECTION,
    examples.SECTION,
    who_is_right.SECTION,
    detections.SECTION,
    importance.SECTION,
    matrices.SECTION,
    maps.SECTION,
    tokens.SECTION,
    codebooks.SECTION,
    codes.SECTION,
    run.SECTION,
    quarantine.SECTION,
    lineage.SECTION,
)
SECTIONS: Registry[Section] = Registry("section", {section.kind: section for section in OURS})
