"""Let figures inside the page follow its light or dark theme; their files stay on white."""

DARK = {
    "#24292f": "#e3e7eb",
    "#57606a": "#9aa5b1",
    "#8c959f": "#77828d",
    "#c4c8cc": "#4b545d",
    "#e6e9ec": "#2d363f",
    "#ffffff": "#11161c",
    "#0072b2": "#4da8e0",
    "#009e73": "#2cc295",
    "#d55e00": "#f0833f",
}
"""Colours of the figures on white, and what stands for them on the page's dark paper. Lighter ones,
which read well on both, stay."""


def follow_theme(svg: bytes) -> bytes:
    """Return an SVG whose colours change with the theme of the reader's page."""
    text = svg.decode()
    light = ""
    dark = ""
    for number, (colour, other) in enumerate(DARK.items()):
        text = text.replace(f": {colour}", f": var(--c{number})")
        light += f"--c{number}:{colour};"
        dark += f"--c{number}:{other};"
    rules = f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return text.replace("<defs>", f"<style>{rules}</style><defs>", 1).encode()
