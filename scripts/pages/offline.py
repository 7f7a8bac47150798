"""A MkDocs hook that fails the build if a page would load anything from another server."""

import re
from typing import Any

from mkdocs.exceptions import PluginError


_LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?((?:https?:)?//[^\"'> ]+)"
    r"|<link\b(?![^>]*rel=[\"']?canonical)[^>]*\bhref=[\"']?((?:https?:)?//[^\"'> ]+)"
)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Check the final HTML of one page."""
    if found := [address for pair in _LOADED.findall(output) for address in pair if address]:
        raise PluginError(f"{page.file.src_uri} loads {found[0]}: the site must work without a network")
    return output
