"""A MkDocs hook that renders LaTeX as MathML while the site is built. Pages then need no script for it."""

import html
import re
from typing import Any

from latex2mathml.converter import convert


# `pymdownx.arithmatex` marks equations like this in its generic mode.
_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', flags=re.DOTALL)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', flags=re.DOTALL)
_FUNCTION = r"<mi>(?:sin|cos|log)</mi>"
_APPLIED = re.compile(
    # A function, possibly with an index or a power, before an argument without parentheses.
    rf"((?<!<msup>)(?<!<msub>){_FUNCTION}|<(msu[bp])>{_FUNCTION}<m[in]>[^<]*</m[in]></\2>)"
    r"(?=<m(?:i|n|frac|sub|sup)\b)"
)
_LETTERS = re.compile(r'(?:<mi mathvariant="normal">\w</mi>){2,}')
_COMMAND = re.compile(r"\\(?:[a-zA-Z]+|.)")


def on_page_content(content: str, **_: Any) -> str:
    """Replace every equation of a page."""
    content = _INLINE.sub(lambda match: as_mathml(match[1], "inline"), content)
    return _BLOCK.sub(lambda match: f'<div class="equation">{as_mathml(match[1], "block")}</div>', content)


def as_mathml(escaped: str, display: str) -> str:
    """Convert one equation. Raise a ValueError that quotes it if a command in it is unknown."""
    latex = html.unescape(escaped)
    # latex2mathml keeps the backslash of an escaped underscore.
    mathml = convert(latex.replace(r"\_", "_"), display=display)
    # latex2mathml prints an unknown command unchanged.
    if unknown := _COMMAND.findall(html.unescape(re.sub(r"<[^>]+>", " ", mathml))):
        raise ValueError(f"cannot render {', '.join(unknown)} in the equation {latex!r}")
    # As TeX does: a thin space after a function, and \mathrm as one word.
    mathml = _APPLIED.sub(r'\1<mspace width="0.167em"/>', mathml)
    return _LETTERS.sub(lambda match: f"<mi>{re.sub('<[^>]+>', '', match[0])}</mi>", mathml)
