"""The step of `prefect deploy` that chooses the configuration: prefect.yaml names it."""

from pathlib import Path

from flows.config import parse_config
from flows.config_files import folders_of, read_yaml, relative_to
from stores.errors import ConfigError, mismatch

VARIABLE = "FUSELINE_CONFIG"


def chosen_config(config: str = "") -> dict[str, str]:
    """Return the path of the configuration that deployments run and its data set's name, after it was validated.

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
