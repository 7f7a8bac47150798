"""Settings that a script takes from its own defaults."""

from collections.abc import Mapping
from typing import Any

from jaxlr.frameworks.recipe import Config


def with_defaults(config: Config, defaults: Mapping[str, Any], script: str) -> Config:
    """Return a config that has the defaults of a script for the settings it lacks, and says so."""
    missing = {name: value for name, value in defaults.items() if not config.has(name)}
    for name, value in missing.items():
        config.assume(f"{name} is {value}, the default of {script}.")
    return config.of({**config.settings, **missing})
