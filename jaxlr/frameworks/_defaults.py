"""The defaults of a script, for settings that a config lacks."""

from collections.abc import Mapping
from typing import Any

from jaxlr.frameworks.recipe import Config


def with_defaults(
    config: Config, defaults: Mapping[str, Any], script: str, *, rate: str = "", epochs: str = ""
) -> Config:
    """Return a config with a script's defaults for missing settings, and list them as assumptions.

    Args:
        config: the settings.
        defaults: the defaults, by name.
        script: the script, as the assumptions name it.
        rate: the setting that `init_value` replaces, which needs no default then.
        epochs: the setting that the argument `epochs` replaces.
    """
    given = {rate: config.init_value, epochs: config.epochs}
    needed = {name: value for name, value in defaults.items() if given.get(name) is None}
    missing = {name: value for name, value in needed.items() if not config.has(name)}
    for name, value in missing.items():
        config.assume(f"{name} is {value}, the default of {script}.")
    return config.of({**config.settings, **missing})
