"""All visual tokens of a sweep's models on one page, with thumbnails of the images that own them (K-37)."""

import re

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.reports.markup import page_environment, picture, style

MADE_OF = re.compile(r'<meta name="made-of" content="([0-9a-f]*)">')


def render_tokens(tokens: pa.Table, *, title: str, made_of: str) -> str:
    """Return the page of TOKENS rows of all models, the clearest token of each model first.

    Every picture lies in an element that says which documents it shows, so that forgetting one takes it out.

    Args:
        tokens: rows with thumbnails.
        title: of the sweep.
        made_of: digest of what the page is made from.
    """
    models = []
    for name in sorted(set(tokens["model"].to_pylist())):
        own = tokens.filter(pc.equal(tokens["model"], name))
        rows = own.sort_by([("clarity", "descending"), ("token", "ascending")]).to_pylist()
        for row in rows:
            row["uris"] = [picture(data) for data in row["thumbnails"] if data is not None]
        models.append((name, rows))
    template = page_environment().get_template("token_page.html")
    return template.render(css=style(), title=title, models=models, made_of=made_of)


def made_of(page: str) -> str:
    """Return the digest of what a page was made from; "" when it tells none."""
    found = MADE_OF.search(page)
    return found[1] if found else ""
