"""What a deployment's form asks for: the path of a configuration, and single values on top of it.

The form must not hold the configuration itself: it would submit every default, and these would beat the file's values.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import WithJsonSchema

from fuseline.flows.config import Config, parse_config
from fuseline.flows.config_files import expanded
from fuseline.stores.errors import ConfigError, mismatch
from fuseline.stores.redaction import redacted_values

Chosen = Annotated[
    Any,  # a Config within a run, which is already effective
    WithJsonSchema(
        {"type": "string", "title": "config", "description": "YAML file of the project, such as conf/demo.yaml"}
    ),
]
Values = Annotated[
    dict[str, Any] | None,
    WithJsonSchema(
        {
            "type": "object",
            "title": "set",
            "description": 'Single values that replace the file\'s: {"run.workers": 1}',
            "default": None,
        }
    ),
]


def settings_of(config: Config | str, values: Mapping[str, Any] | None = None) -> Config:
    """Return the effective configuration of a flow's parameters.

    Args:
        config: path of a YAML file below the working directory; or a configuration, which takes no values.
        values: what replaces the file's; dots in a key lead into mappings.

    Raises:
        ConfigError: another type, no such file, or a value that is refused.
    """
    if isinstance(config, Config):
        return config
    if not isinstance(config, str) or not config:
        cure = "write for example config=conf/demo.yaml, and single values into `set`"
        raise ConfigError(mismatch("config", "the path of a YAML file", config, cure))
    if redacted_values(given := dict(values or {})) != given:
        cure = "parameters stand in Prefect's database: put it into the file, or the worker's environment"
        raise ConfigError(mismatch("set", "values without a signature, token or password", given, cure))
    return parse_config({**expanded(given), "extends": config})
