"""Model cards of Hugging Face: the hyperparameters in their lists, and the steps in their tables."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any


# The JSON in a card of sentence-transformers.
_FIT = re.compile(r"of the fit\(\)-Method:[ \n]{0,9}```[a-z]{0,9}\n(\{[^`]*)```")
# Settings in the YAML of axolotl's cards that change the rate, and are not in the list.
_OF_AXOLOTL = re.compile(
    r"^((?:cosine_min_lr_ratio|cosine_constant_lr_ratio|lr_quadratic_warmup|jagged_restart_steps|relora_steps):"
    r" *(?!false|null|~|0\s)[\w.]+|lr_scheduler: *['\"]?(?:rex|one_cycle))",
    re.MULTILINE,
)
_ROW = re.compile(r"^\|.*\|\s*$")


def is_card(text: str) -> bool:
    """Check if a text is that of a model card, or a part of one."""
    marks = r"hyperparameters were used|^- learning_rate: |of the fit\(\)-Method"
    return re.search(marks, text, re.MULTILINE) is not None


def read_card(text: str, read_json: Callable[[str], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Read the list of hyperparameters in a model card, and the batches of an epoch from its table."""
    if match := _FIT.search(text):
        lengths = [int(length) for length in re.findall(r" of length (\d{1,12})\b", text)]
        return {**({"batches_per_epoch": min(lengths)} if lengths else {}), **read_json(match[1])}
    if match := _OF_AXOLOTL.search(text):
        raise ValueError(
            f"the model card has a config of axolotl with {match[1]!r}, which its list leaves out: "
            "give that config"
        )
    settings: dict[str, Any] = {"is_model_card": True}
    for line in map(str.strip, text.splitlines()):
        item = line[2:] if line.startswith(("- ", "* ")) else ""
        name, _, value = item.partition(": ")
        name = name.strip(" `")
        if value.strip() and re.fullmatch(r"[a-z][\w ]*", name):
            settings.setdefault(name, value.strip())
        elif match := re.match(r"Transformers:? (\d+\.\d+\.\d+)", item or line):
            settings.setdefault("transformers_version", match[1])
    if "learning_rate" not in settings:
        raise ValueError("the model card has no line '- learning_rate: ...'")
    accumulation = str(settings.get("gradient_accumulation_steps", "1"))
    batches = _batches_in_table(text, int(accumulation)) if re.fullmatch(r"\d{1,5}", accumulation) else None
    return settings if batches is None else {**settings, "batches_per_epoch": batches}


def _batches_in_table(text: str, accumulation: int) -> int | None:
    """Return the batches of an epoch, if only one number agrees with the columns Epoch and Step.

    The epochs are rounded to four digits, and before to two.
    """
    table = [line.strip()[1:-1].split("|") for line in text.splitlines() if _ROW.match(line)]
    rows = [[cell.strip() for cell in cells] for cells in table]
    header = next((row for row in rows if "Epoch" in row and "Step" in row), None)
    if header is None or accumulation == 0:
        return None
    columns = header.index("Epoch"), header.index("Step")
    pairs = [[row[column] for column in columns] for row in rows if len(row) == len(header)]
    pairs = [pair for pair in pairs if re.fullmatch(r"\d{1,6}\.\d+ \d{1,9}", " ".join(pair))]
    digits = 4 if any(len(epoch.partition(".")[2]) > 2 for epoch, _ in pairs) else 2
    half = 0.51 * 10**-digits
    lows = [int(step) * accumulation / (float(epoch) + half) for epoch, step in pairs]
    highs = [int(step) * accumulation / max(float(epoch) - half, 1e-9) for epoch, step in pairs]
    if not pairs or math.ceil(max(lows)) != math.floor(min(highs)):
        return None
    batches = math.ceil(max(lows))
    # If batches are left over, versions differ in the update that they belong to.
    return batches if batches > 0 and batches % accumulation == 0 else None
