"""What visual tokens mean: the words and pictures nearest to them."""

from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from fuseline.reports.markup import fill, picture
from fuseline.reports.page_data import ReportData
from fuseline.reports.section import Section

TEMPLATE = """\
<p class="lead">What <em>{{ tokens.model }}</em> learned to see: the words nearest to a token by cosine, and pictures nearest to its centroid. The {{ tokens.cards|length }} clearest that show different things, of {{ "{:,}".format(tokens.learned) }} that training documents own; <code>tokens.parquet</code> has all of them, <code>words.parquet</code> the tokens nearest to a word.</p>
<div class="tokens">
{% for row in tokens.cards %}
<article class="token" data-shows='{{ row.documents|map(attribute="id")|list|tojson }}'>
<div class="strip">{% for uri in row.uris %}<img src="{{ uri }}" alt="">{% else %}no picture{% endfor %}</div>
<div class="bars">{% for word in row.words %}<span>{{ word.word }}</span><div class="bar"><i style="width:{{ "%.0f"|format(100 * [word.cosine, 0]|max) }}%"></i></div><span class="n">{{ "%.2f"|format(word.cosine) }}</span>{% endfor %}</div>
<p class="note"><code>{{ row.token }}</code><br>{{ "{:,}".format(row.n_documents) }} documents · coherence {{ "%.2f"|format(row.coherence) }}</p>
</article>
{% endfor %}
</div>
"""


SHOWN = 24  # tokens
LEAST = 5  # training documents of a token that is shown


class TokenCards(NamedTuple):
    """The clearest tokens of one model."""

    model: str
    cards: list[dict[str, Any]]
    tokens: int  # that any document owns
    learned: int  # that a training document owns


def token_cards(tokens: pa.Table, *, ranking: list[str]) -> TokenCards | None:
    """Return the clearest tokens of the best model that has any; None without tokens.

    A token whose nearest word stands on a card already is left out, so that the cards show different things.

    Args:
        tokens: TOKENS rows of all models.
        ranking: models, the best first.
    """
    if not len(tokens):
        return None
    there = sorted(set(tokens["model"].to_pylist()), key=lambda name: (_place(name, ranking), name))
    own = tokens.filter(pc.equal(tokens["model"], there[0]))
    enough = own.filter(pc.and_(pc.is_valid(own["clarity"]), pc.greater_equal(own["n_train"], LEAST)))
    seen, cards = set[str](), list[dict[str, Any]]()
    for row in enough.sort_by([("clarity", "descending"), ("token", "ascending")]).to_pylist():
        if row["words"] and row["words"][0]["word"] not in seen and len(cards) < SHOWN:
            seen |= {word["word"] for word in row["words"]}
            cards.append({**row, "uris": [picture(data) for data in row["thumbnails"] if data is not None]})
    learned = pc.sum(pc.greater(own["n_train"], 0)).as_py()
    return TokenCards(there[0], cards, own.num_rows, learned) if cards else None


def _place(name: str, ranking: list[str]) -> int:
    return ranking.index(name) if name in ranking else len(ranking)


def render(data: ReportData) -> Markup | None:
    """Return the section of the best model that has any; None without tokens."""
    cards = token_cards(data.table("tokens"), ranking=data.ranking)
    return fill(TEMPLATE, tokens=cards) if cards else None


SECTION = Section(
    "tokens", "Visual tokens", "words and pictures nearest to the visual tokens of the best model that has any",
    ("tokens", "metrics", "measures"), render,
)  # fmt: skip
