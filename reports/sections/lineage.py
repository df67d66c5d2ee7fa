"""What the figures were made from: keys, packages and the configuration."""

from markupsafe import Markup

from fuseline.reports.markup import fill
from fuseline.reports.page_data import ReportData
from fuseline.reports.section import Section

TEMPLATE = """\
<p class="lead">What these figures were made from. Equal keys mean equal data.</p>
{% if data.lineage %}
<div class="scroll"><table>
<thead><tr><th>dataset or model</th><th>key</th></tr></thead>
<tbody>{% for name, key in data.lineage.items() %}<tr><td>{{ name }}</td><td><code>{{ key }}</code></td></tr>{% endfor %}</tbody>
</table></div>
{% endif %}
{% if data.versions %}<p class="note">{% for name, version in data.versions.items() %}{{ name }} {{ version }}{{ " · " if not loop.last else "" }}{% endfor %}</p>{% endif %}
{% if data.config_yaml %}<details><summary>Configuration</summary><pre>{{ data.config_yaml }}</pre></details>{% endif %}
"""


def render(data: ReportData) -> Markup:
    """Return the section."""
    return fill(TEMPLATE, data=data)


SECTION = Section("lineage", "Lineage", "keys of datasets and models, packages and the configuration", (), render)
