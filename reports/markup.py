"""How pages are filled: everything escaped, an unknown name is an error, and how numbers are printed."""

import base64
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

FOLDER = Path(__file__).parent


@lru_cache(maxsize=1)
def page_environment() -> Environment:
    """Return where pages are rendered: everything escaped, an unknown name is an error."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"breakable": breakable, "duration": duration, "percent": percent, "size": size}
    return environment


def fill(template: str, **values: Any) -> Markup:
    """Return a template, given as its text, with values filled in and escaped."""
    return Markup(_compiled(template).render(**values))  # noqa: S704 - the environment escapes


@cache
def _compiled(template: str) -> Template:
    return page_environment().from_string(template)


def style() -> Markup:
    """Return the style sheet of every page."""
    return Markup((FOLDER / "report.css").read_text("utf-8"))  # noqa: S704 - ours


def breakable(name: str) -> Markup:
    """Let a long name break after its slashes, underscores and dots."""
    text = str(escape(name))
    for sign in "/_":
        text = text.replace(sign, f"{sign}<wbr>")
    return Markup(text)  # noqa: S704 - escaped above


def duration(seconds: float) -> str:
    """Print seconds the way people say them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def percent(share: float) -> str:
    """Print a share in per cent."""
    return f"{100 * share:.1f}\u00a0%"


def p_text(p: float) -> str:
    """Print a p value."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def size(number: float, unit: str = "") -> str:
    """Print a count with three digits and k, M or G."""
    for power, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= power:
            return f"{number / power:.3g}\u00a0{sign}{unit}"
    return f"{number:.3g}\u00a0{unit}".rstrip("\u00a0")


def picture(data: bytes | None) -> str | None:
    """Return WebP bytes as a data URI; None for none."""
    return None if data is None else "data:image/webp;base64," + base64.b64encode(data).decode()
