"""A group of commands whose modules are imported when one of their commands is called.

Importing all that the commands need takes a second; `fuseline --help` needs names and one line each.
"""

from importlib import import_module
from typing import Any, NamedTuple

from typer.core import TyperGroup
from typer.main import get_group

from fuseline.flows.imports import uncollected


class Lazy(NamedTuple):
    """Where a command is defined, and the first line of its help."""

    module: str  # holds `commands`, a Typer
    summary: str


MAKE, UPKEEP, REGISTRIES = "fuseline.flows.cli.pipeline", "fuseline.flows.cli.upkeep", "fuseline.flows.cli.registries"
CONFIGURATIONS = "fuseline.flows.cli.configurations"
COMMANDS = {
    "init": Lazy(
        "fuseline.flows.cli.beginning",
        "Look at data, and write a first configuration: reader, roles of columns and models that fit.",
    ),
    "run": Lazy(MAKE, "Make everything that is not fresh, then the report."),
    "plan": Lazy(MAKE, "Say per stage what a run would make, and why."),
    "status": Lazy(MAKE, "Say what was run last, what lies under the root, and who holds it."),
    "predict": Lazy(MAKE, "Predict new documents with a trained model."),
    "export": Lazy(MAKE, "Write documents as fastText label files, as a model reads them: words and visual tokens."),
    "neighbours": Lazy(
        "fuseline.flows.cli.search",
        "Show the documents that are nearest to one, by an embedding or by what a network has learnt.",
    ),
    "sweep": Lazy(
        "fuseline.flows.cli.experiments",
        "Try a grid of options per model on valid; train the best with several seeds and score them on test.",
    ),
    "paper": Lazy(
        "fuseline.flows.cli.experiments",
        "Set the results of several data sets beside the tables of a paper, and decide its claims.",
    ),
    "report": Lazy(MAKE, "Write the report, latest/ and the catalog again."),
    "config": Lazy(CONFIGURATIONS, "Configurations: show one, check one."),
    "verify": Lazy(
        UPKEEP, "Re-read every byte and compare digests, and look for forgotten documents; exit code 1 on either."
    ),
    "repair": Lazy(UPKEEP, "Make damaged shards again, and only those."),
    "forget": Lazy(
        UPKEEP, "Erase documents from everything below the root, and keep them out of it; without --ids, complete an "
        "erasure.",
    ),
    "gc": Lazy(UPKEEP, "Remove versions that no configuration's last run needs."),
    "list": Lazy(REGISTRIES, "List what there is to choose from."),
    "describe": Lazy(REGISTRIES, "Say what one of them is, and what options it has: type, default and meaning."),
    "weights": Lazy(REGISTRIES, "Pretrained weights: which there are, and whether they are here."),
}  # fmt: skip
# Spellings that were given up: they answer with the new one, and no help lists them.
MOVED = {"show": CONFIGURATIONS}


class LazyGroup(TyperGroup):
    """The commands of COMMANDS, in this order."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands' names."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and return one command; None when there is none of that name."""
        name = COMMANDS[cmd_name].module if cmd_name in COMMANDS else MOVED.get(cmd_name)
        if name is None:
            return None
        with uncollected():
            module = import_module(name)
        return get_group(module.commands).commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands with their summaries."""
        width = max(map(len, COMMANDS))
        with formatter.section("Commands"):
            formatter.write_dl([(name.ljust(width), lazy.summary) for name, lazy in COMMANDS.items()])
