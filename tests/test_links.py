"""Links inside the repository lead to files and headings that are there.

Checked are the relative links of all pages, and the pages that code, settings and tests name by
their path, such as docs/reference/report.md.
"""

import re
from pathlib import Path

import pytest

from conftest import ROOT

LINK = re.compile(r"\]\(([^)\s]+)\)")
NAMED_PAGE = re.compile(r"(?<![\w/.])docs/[\w./-]+\.md")
NAMING = ("src", "conf", "sweeps", "tests", "benchmarks", "examples", "results", "docs")
ENDINGS = {".py", ".yaml", ".sh", ".md", ".html"}


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def pages() -> list[Path]:
    folders = [ROOT / name for name in ("docs", "benchmarks", "examples", "results")]
    inside = [page for folder in folders for page in folder.rglob("*.md")]
    return sorted([*ROOT.glob("*.md"), *inside])


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", without_code(page.read_text()), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.strip().lower())
        found.add(words.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", pages(), ids=page_name)
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    for link in LINK.findall(without_code(page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page_name(page)}: {link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{page_name(page)}: {link}: no such heading"


def test_pages_that_files_name_are_there() -> None:
    for folder in NAMING:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix not in ENDINGS:
                continue
            for page in NAMED_PAGE.findall(path.read_text()):
                assert (ROOT / page).is_file(), f"{page_name(path)} names {page}"


def written_pages() -> list[Path]:
    return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("page", written_pages(), ids=page_name)
def test_prose_is_wrapped_at_128_columns(page: Path) -> None:
    text = without_code(page.read_text())
    # What `augean results` sets in has one line a paragraph, and a table's row cannot be wrapped.
    text = re.sub(r"^<!-- results.*?^<!-- end", "", text, flags=re.DOTALL | re.MULTILINE)
    for line in text.splitlines():
        assert len(line) <= 128 or line.startswith("|"), line
