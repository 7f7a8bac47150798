"""A MkDocs hook that draws the figures of the pages from the code above them.

A figure is a Python block that is followed by an image of the folder `figures`:

    ```python
    jaxlr.plot(jaxlr.step_lr(0.1, step_size=30), num_steps=90)
    ```

    ![The rate falls at epochs 30 and 60](figures/step_lr.svg)
"""

import io
import posixpath
import re
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import matplotlib.pyplot as plt

import jaxlr


_FIGURE = re.compile(
    r"^```python\n((?:(?!```).*\n)*)```\n\s*!\[[^\]]*\]\((figures/\w+\.svg)\)", re.MULTILINE
)
_IMAGE = re.compile(r'<img\b[^>]*\bsrc="([^"]+)"')


class Figure(NamedTuple):
    """One figure of a page."""

    path: str
    code: str


def figures_of(markdown: str) -> list[Figure]:
    """Return the figures of a page in their order."""
    return [Figure(path, code) for code, path in _FIGURE.findall(markdown)]


def draw(figure: Figure) -> bytes:
    """Run the code of a figure and return what it drew on the current Axes, as SVG."""
    # Ids that do not change from build to build, and text as text: the files stay small.
    settings: Any = {"svg.hashsalt": figure.path, "svg.fonttype": "none", "font.size": 9}
    with matplotlib.rc_context(settings):
        canvas = plt.figure(figsize=(6, 2.4), layout="constrained")
        try:
            exec(compile(figure.code, figure.path, "exec"), {"jaxlr": jaxlr})
            _move_legends(canvas)
            file = io.BytesIO()
            canvas.savefig(file, format="svg", metadata={"Date": None})
        finally:
            plt.close(canvas)
    return file.getvalue()


def _move_legends(canvas: Any) -> None:
    """Move each legend above its Axes, where it covers no curve."""
    for axes in canvas.axes:
        if (legend := axes.get_legend()) is not None:
            legend.remove()
            handles, labels = axes.get_legend_handles_labels()
            canvas.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
            canvas.set_figheight(canvas.get_figheight() + 0.2 * -(-len(labels) // 2))


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Add the figures of all pages to the files of the site."""
    from mkdocs.structure.files import File  # here, because tests draw figures without MkDocs

    matplotlib.use("agg")
    for page in list(files.documentation_pages()):
        for figure in figures_of(page.content_string):
            path = posixpath.join(posixpath.dirname(page.src_uri), figure.path)
            files.append(File.generated(config, path, content=draw(figure)))
    return files


def on_post_build(config: Any, **_: Any) -> None:
    """Fail the build if a page shows an image that the site does not have."""
    from mkdocs.exceptions import PluginError

    for page in Path(config.site_dir).rglob("*.html"):
        for source in _IMAGE.findall(page.read_text(encoding="utf-8")):
            if not (page.parent / source).is_file():
                raise PluginError(f"{page.name} shows {source}, which is not in the site")
