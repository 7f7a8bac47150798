"""Print the lowest versions of the packages that the library and an extra need, as constraints for pip."""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path


PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


def lowest_versions(extra: str) -> dict[str, str]:
    """Return the lowest version of each package that has one."""
    needed = [*PROJECT["dependencies"], *_requirements(extra)]
    found = [re.match(r"([\w-]+)>=([\d.]+)", requirement) for requirement in needed]
    # The last one counts: an extra may need a later version than the library.
    return {match[1]: match[2] for match in found if match}


def _requirements(extra: str) -> Iterator[str]:
    for requirement in PROJECT["optional-dependencies"][extra]:
        included = re.match(r"jaxlr\[(\w+)\]", requirement)
        yield from _requirements(included[1]) if included else [requirement]


if __name__ == "__main__":
    for name, version in lowest_versions(sys.argv[1]).items():
        print(f"{name}=={version}")
