"""Repairs of text that was copied from a page, a chat or an interpreter's session."""

import ast
import re
import textwrap
import warnings


# Characters that editors and pages put in the place of plain ones.
_PLAIN = str.maketrans(
    {
        "\u00a0": " ",
        "\u202f": " ",
        "\u2007": " ",
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u200b": None,
        "\ufeff": None,
    }
)
_FENCE = re.compile(r"^\s*(```|~~~)[^\n]*\n(.*?)(^\s*\1|\Z)", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"^\s*(>>>|\.\.\.|In \[\d+\]:)( |$)")


# The commands of a notebook: !pip install x, %time f(), model?
_COMMAND = re.compile(r"^([ ]*)((%%?|!)[ ]*[A-Za-z][^\n]*|[\w.]+\?\??[ ]*)$", re.MULTILINE)
_OUTPUT = re.compile(r"^([ ]*)([\w.]+)[ ]*=[ ]*[!%][ ]*[A-Za-z][^\n]*$", re.MULTILINE)  # files = !ls


def unwrapped(text: str) -> str:
    """Return the code of a copied text, without fences, prompts, notebook commands and odd characters."""
    text = text.expandtabs().translate(_PLAIN)
    if _is_python(text):  # whose docstrings may have fences and prompts
        return text
    without = _COMMAND.sub(lambda found: f"{found[1]}pass" if found[1] else "", text)
    if _is_python(without := _OUTPUT.sub(r"\1\2 = \2", without)):
        return without
    if blocks := _FENCE.findall(text):
        text = "\n".join(block for _, block, _ in blocks)
    elif re.fullmatch(r"\s*`[^`\n]+`\s*", text):
        text = text.strip().strip("`")
    lines = text.splitlines()
    if any(line.lstrip().startswith((">>>", "In [")) for line in lines):
        # The lines without a prompt are what the interpreter printed.
        lines = [_PROMPT.sub("", line, count=1) for line in lines if _PROMPT.match(line)]
        text = "\n".join(lines)
    return text


def _is_python(text: str) -> bool:
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
            ast.parse(textwrap.dedent(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def dedented(text: str) -> str:
    """Return a text without its indentation, which its first line may lack."""
    text = re.sub(r"\A(\s*)elif\b", r"\1if", text)  # a branch that was copied alone
    first, _, rest = text.partition("\n")
    if first.rstrip().endswith(":") or text.lstrip().startswith(("def ", "class ", "@")):
        return textwrap.dedent(text.strip("\n")).strip()
    return f"{first.strip()}\n{textwrap.dedent(rest)}".strip()
