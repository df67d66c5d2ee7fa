"""The step of `prefect deploy` that chooses the configuration: prefect.yaml names it."""

from functools import cache
from pathlib import Path

from fuseline.flows.cli.app import err, error_line
from fuseline.flows.config import parse_config
from fuseline.flows.config_files import folders_of, read_yaml, relative_to
from fuseline.stores.errors import ConfigError, FuselineError, mismatch

VARIABLE = "FUSELINE_CONFIG"


@cache  # Prefect asks once per deployment
def chosen_config(config: str = "") -> dict[str, str]:
    """Return the path of the configuration that deployments run and its data set's name; say so in a line.

    A refusal ends the program: Prefect would print an error with a traceback around it.
    """
    try:
        chosen = checked_config(config)
    except FuselineError as error:
        code, line = error_line(error)
        err.print(f"error: {line}", style="red", soft_wrap=True)
        raise SystemExit(code) from None
    err.print(f"every deployment runs {chosen['config']}, data set {chosen['name']}", soft_wrap=True)
    return chosen


def checked_config(config: str) -> dict[str, str]:
    """Return a configuration's path below the working directory and its data set's name, after it was validated.

    Raises:
        ConfigError: none is given, it lies outside the working directory, or it is refused.
    """
    if not config.strip() or "$" in config:
        cure = f"say which: {VARIABLE}=conf/mine.yaml prefect --no-prompt deploy --all"
        raise ConfigError(mismatch(VARIABLE, "the configuration to deploy", config.strip() or None, cure))
    path, home = Path(config).resolve(), Path.cwd().resolve()
    if not path.is_relative_to(home):
        raise ConfigError(mismatch(VARIABLE, f"a file below {home}", config, "a worker reads it from there: move it"))
    settings = parse_config(relative_to(read_yaml(path), path.parent), folders=[*folders_of(path)])
    return {"config": path.relative_to(home).as_posix(), "name": settings.name}
