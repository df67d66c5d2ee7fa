"""Images with what the detectors found in them."""

from markupsafe import Markup

from fuseline.reports.markup import fill, picture
from fuseline.reports.page_data import ReportData
from fuseline.reports.section import Section

TEMPLATE = """\
<p class="lead">Images in which most detectors found something; boxes from a score of 50 % on, what text lines say below.
{% for name, colour in data.detectors.items() %}<span class="key"><i style="background:{{ colour }}"></i>{{ name }}</span>{% endfor %}</p>
<div class="sheet">
{% for row in sheet %}
<figure data-shows='{{ [row.id]|tojson }}'>
{% if row.uri %}<img src="{{ row.uri }}" alt="">{% else %}<div class="picture">{{ row.status }}</div>{% endif %}
<figcaption><span class="id">{{ row.id }}</span>{% for one in row.found if one.n %} <span class="tag">{{ one.detector }} {{ one.n }}</span>{% endfor %}{% if row.words %}<p>{{ row.words|truncate(160) }}</p>{% endif %}</figcaption>
</figure>
{% endfor %}
</div>
"""


def render(data: ReportData) -> Markup | None:
    """Return the section; None without images."""
    rows = [{**row, "uri": picture(row["picture"])} for row in data.rows("contact_sheet")]
    return fill(TEMPLATE, data=data, sheet=rows) if rows else None


SECTION = Section(
    "detections", "Detections", "images with the boxes and texts that detectors found", ("contact_sheet",), render
)
