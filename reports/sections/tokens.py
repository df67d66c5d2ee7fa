"""Rows for the sections about visual tokens and codebooks."""

import base64
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

SHOWN = 24  # tokens
LEAST = 5  # training documents of a token that is shown


class TokenCards(NamedTuple):
    """The clearest tokens of one model."""

    model: str
    cards: list[dict[str, Any]]
    tokens: int  # that any document owns
    learned: int  # that a training document owns


class Codebook(NamedTuple):
    """The drift of one codebook; `parts` are its rows, the others hold for all of them."""

    name: str
    all: dict[str, Any]
    parts: list[dict[str, Any]]


def token_cards(tokens: pa.Table | None, *, ranking: list[str]) -> TokenCards | None:
    """Return the clearest tokens of the best model that has any; None without tokens.

    A token whose nearest word stands on a card already is left out, so that the cards show different things.

    Args:
        tokens: TOKENS rows of all models.
        ranking: models, the best first.
    """
    if tokens is None or not len(tokens):
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


def codebooks(drift: pa.Table | None) -> list[Codebook]:
    """Return the drift report of every codebook."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in [] if drift is None else drift.to_pylist():
        found.setdefault(row["codebook"], []).append(row)
    return [Codebook(name, rows[0], rows) for name, rows in sorted(found.items())]


def picture(data: bytes) -> str:
    """Return WebP bytes as a data URI."""
    return "data:image/webp;base64," + base64.b64encode(data).decode()


def _place(name: str, ranking: list[str]) -> int:
    return ranking.index(name) if name in ranking else len(ranking)
