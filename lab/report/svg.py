"""Scalable vector graphics by hand: elements as strings, escaped; and the colours that drawings share, light and dark.

A drawing names colours by class only. `STYLE` gives each class its colour in both schemes, so that one drawing looks
right in a light page, in a dark one, and as a file of its own.
"""

from __future__ import annotations

from html import escape

STYLE = """
.wl { --ink: #1f2328; --soft: #59636e; --faint: #d1d9e0; --paper: #ffffff;
      --blue: #0969da; --green: #1a7f37; --orange: #bc4c00; --red: #cf222e; --violet: #8250df; --grey: #818b98;
      color: var(--ink); fill: currentColor; font: 13px ui-sans-serif, system-ui, sans-serif; }
@media (prefers-color-scheme: dark) {
  .wl { --ink: #e6edf3; --soft: #9198a1; --faint: #3d444d; --paper: #0d1117;
        --blue: #58a6ff; --green: #3fb950; --orange: #f0883e; --red: #ff7b72; --violet: #bc8cff; --grey: #767e89; } }
.wl .mono { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.wl .strong { font-weight: 600; }
.wl .small { font-size: 11px; }
.wl .soft { fill: var(--soft); }
.wl .faint-line { stroke: var(--faint); fill: none; }
.wl .paper { fill: var(--paper); }
.wl .line { fill: none; stroke-width: 1.5; }
.wl .blue { --hue: var(--blue); } .wl .green { --hue: var(--green); } .wl .orange { --hue: var(--orange); }
.wl .red { --hue: var(--red); } .wl .violet { --hue: var(--violet); } .wl .grey { --hue: var(--grey); }
.wl .stroke { stroke: var(--hue); }
.wl .fill { fill: var(--hue); }
.wl .tint { fill: var(--hue); fill-opacity: .18; }
"""


def element(tag: str, content: str = "", **attributes: object) -> str:
    """Make one element. `content` is markup already; `class_` and `stroke_width` become `class` and `stroke-width`."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return f"<{tag}{written}>{content}</{tag}>" if content else f"<{tag}{written}/>"


def text(
    x: float, y: float, content: str, class_: str = "", anchor: str = "start", more: str = "", more_class: str = ""
) -> str:
    """Make a line of text, and `more` after it in another class; both are plain and are escaped here."""
    inside = escape(content) + (element("tspan", escape(more), dx=10, class_=more_class) if more else "")
    return element("text", inside, x=x, y=y, class_=class_ or None, text_anchor=None if anchor == "start" else anchor)


def _number(value: object) -> str:
    """Coordinates with one decimal: a tenth of a pixel is finer than any screen."""
    return f"{value:.1f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def drawing(content: str, width: float, height: float, *, title: str, summary: str) -> str:
    """Wrap content into a whole SVG of that size; `title` and `summary` are what a screen reader says."""
    return element(
        "svg",
        element("title", escape(title)) + element("desc", escape(summary)) + f"<style>{STYLE}</style>" + content,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        class_="wl",
        role="img",
    )
