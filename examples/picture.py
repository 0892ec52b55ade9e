"""A picture of one table of the report's page. Needs chromium.

    python examples/picture.py results/reduced/runs.tar.xz table4_optimizer outputs/table.png

Takes an archive that `augean pack` or `augean results` made, the beginning of a record's name, and
the file to write.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
from PIL import Image

from augean.errors import AugeanError
from augean.report import make_report
from augean.store.archive.packing import unpack

BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
WIDTH, SCALE, MARGIN = 1240, 2, 24
"""Pixels of the window, of each of its pixels in the picture, and around the table in the
picture."""
ONLY_THE_TABLE = """<style>:root { color-scheme: light }
header, footer, nav, .figures, .files { display: none }
section { margin: 0; padding: 0; border: 0 } section ~ section { display: none }</style>"""


def take(archive: Path, table: str, target: Path) -> None:
    """Write the table's title, rows, remarks and caption as a PNG of few colours."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpack(archive, folder / "outputs")
        try:
            report = make_report(folder / "outputs", f"table={table}*")
        except AugeanError:
            sys.exit(f"{archive}: has no table whose name begins with {table}")
        page, shot = folder / "table.html", folder / "table.png"
        text = (report.directory / "index.html").read_text()
        page.write_text(text.replace("</head>", f"{ONLY_THE_TABLE}</head>"))
        options = [
            f"--window-size={WIDTH},1600",
            f"--force-device-scale-factor={SCALE}",
            f"--screenshot={shot}",
        ]
        command = [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            *options,
        ]
        subprocess.run([*command, page.as_uri()], check=True, capture_output=True, timeout=120)
        image = Image.open(shot).convert("RGB")
    pixels = numpy.asarray(image)
    rows, columns = (pixels != pixels[0, 0]).any(axis=2).nonzero()
    box = (columns.min() - MARGIN, rows.min() - MARGIN, columns.max() + MARGIN, rows.max() + MARGIN)
    image.crop(box).quantize(32).save(target, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 4 or BROWSER is None:
        sys.exit(__doc__)
    take(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
