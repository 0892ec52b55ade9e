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
"""The dark theme's colour for each colour of the figures. Those that read well on both grounds are
not listed, and stay."""


def follow_theme(svg: bytes) -> bytes:
    """Return an SVG whose colours change with the theme of the reader's page."""
    text = svg.decode()
    light = ""
    dark = ""
    for number, (light_colour, dark_colour) in enumerate(DARK.items()):
        name = f"--c{number}"
        # Matplotlib writes colours in style attributes: "stroke: #24292f".
        text = text.replace(f": {light_colour}", f": var({name})")
        light += f"{name}:{light_colour};"
        dark += f"{name}:{dark_colour};"
    rules = f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    # The first <defs> belongs to the whole drawing.
    return text.replace("<defs>", f"<style>{rules}</style><defs>", 1).encode()
