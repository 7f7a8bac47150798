"""The defaults of a script, for settings that a config lacks."""

from collections.abc import Mapping
from typing import Any

from jaxlr.frameworks.recipe import Config


def with_defaults(config: Config, defaults: Mapping[str, Any], script: str) -> Config:
    """Return a config with a script's defaults for missing settings, and list them as assumptions."""
    missing = {name: value for name, value in defaults.items() if not config.has(name)}
    for name, value in missing.items():
        config.assume(f"{name} is {value}, the default of {script}.")
    return config.of({**config.settings, **missing})
