"""The report flow: results go to latest/, metrics/, the catalog and an HTML page."""

from fuseline.flows.parameters import Chosen, Values, settings_of
from fuseline.flows.recorded import recorded_flow
from fuseline.flows.results.artifacts import publish_artifacts
from fuseline.flows.results.publish import publish_results
from fuseline.flows.runs import last_summaries
from fuseline.flows.runtime import locked, new_run


@recorded_flow("report")
def report(config: Chosen, set: Values = None) -> str:  # noqa: A002
    """Publish the results of the last run if they changed; return the report's path."""
    settings = settings_of(config, set)
    with locked(settings) as root:
        page = publish_results(settings, last_summaries(root), new_run())
        publish_artifacts(settings)
        return page
