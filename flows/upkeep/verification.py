"""What `fuseline verify` finds: damaged bytes, and documents that should be forgotten."""

from typing import NamedTuple

from fuseline.flows.config import Config
from fuseline.flows.upkeep.damage import find_all_damage
from fuseline.flows.upkeep.traces import find_traces
from fuseline.stores.errors import DataError
from fuseline.stores.forgotten import Forgotten
from fuseline.stores.places import open_root

FORGOTTEN = "forgotten documents"


class Verification(NamedTuple):
    """One row per stage (stage, checked, damaged), one for forgotten documents if there are any, and what it means."""

    rows: list[dict[str, object]]
    lines: list[str]


def verified(config: Config) -> Verification:
    """Re-read every byte of a configuration's datasets, and look for forgotten documents in every file of its root."""
    root, lines = open_root(config.root), list[str]()
    rows: list[dict[str, object]] = [
        {"stage": label, "checked": checked, "damaged": [str(fault) for fault in damage]}
        for label, checked, damage in find_all_damage(config)
    ]
    if any(row["damaged"] for row in rows):
        lines.append("damage found; `fuseline repair` makes the damaged shards again")
    try:
        forgotten = Forgotten.load(root)
    except DataError as error:
        return Verification(rows, [*lines, str(error)])
    if len(forgotten):
        checked, left = find_traces(root, forgotten)
        rows.append({"stage": FORGOTTEN, "checked": checked, "damaged": left})
        line = f"{checked:,} files hold ids, none of them theirs"
        cure = f"they may be left in {len(left)} places; `fuseline forget CONFIG` erases them, `repair` what is damaged"
        lines.append(f"{len(forgotten):,} documents are forgotten; {cure if left else line}")
    return Verification(rows, lines)
