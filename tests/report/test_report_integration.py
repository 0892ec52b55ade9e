"""The page in a real browser and the tables in a real LaTeX; each test names the program that it
misses.

The browser is driven by a script that is put into a copy of the page and writes what it found into
the document, which `chromium --dump-dom` prints: no driver, no further package.
"""

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from augean.report import ReportResult, make_report
from augean.report.escape import beyond_pdflatex, latex
from augean.report.tables import anchor
from augean.store.archive.packing import pack
from conftest import ROOT
from fake_runs import write_examples, write_many, write_record, write_run, write_scores
from page_data import page_commands, page_data

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("page")]

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
PDFLATEX = shutil.which("pdflatex")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--enable-logging=stderr", "--virtual-time-budget=5000",
    "--window-size=1400,900",  # in a narrow window the column of verdicts is not there
)  # fmt: skip
EVIL_CODE = "document.title='broken in'"
EVIL = f"""<img src=x onerror="{EVIL_CODE}"> & <script>{EVIL_CODE}</script> "'`$x_1$ \\%#{{"""
NOTHING_FROM_OUTSIDE = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
)

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed (Debian: chromium)"
)
needs_latex = pytest.mark.skipif(
    PDFLATEX is None,
    reason="pdflatex is not installed (Debian: texlive-latex-base texlive-latex-recommended)",
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> ReportResult:
    """All kinds of tables, and one whose every text is an attack."""
    outputs = tmp_path_factory.mktemp("report")
    write_examples(outputs)
    jobs = [
        write_run(
            outputs,
            seed=seed,
            accuracy=0.9 + 0.01 * seed,
            row=EVIL + row,
            dataset_title=EVIL,
            activation__name=row,
        )
        for row in "ab"
        for seed in range(2)
    ]
    more = {
        "title": EVIL,
        "note": EVIL,
        "command": EVIL,
        "figure": EVIL,
        "row_key": "activation.name",
    }
    write_record(
        outputs,
        "evil",
        jobs,
        **more,
        baseline=EVIL + "a",
        reference={EVIL + "b": {"test_accuracy": 90}},
    )
    return make_report(outputs)


def browse(page: Path, profile: Path, script: str = "return null") -> tuple[Any, list[str], str]:
    """What `script` returned, the console's messages and the document afterwards.

    The page is opened as it is but for the script, and a policy under which every request for
    anything outside it is refused and becomes a message of the console.
    """
    copy = page.with_name("browsed.html")

    policy = f'<meta http-equiv="Content-Security-Policy" content="{NOTHING_FROM_OUTSIDE}">'
    run = f"""
        <script>{{
          const found = (() => {{ {script} }})();
          const out = document.createElement('pre');
          out.id = 'found';
          out.textContent = JSON.stringify(found);
          document.body.append(out);
        }}</script>"""
    # Images far below would not be there yet when the script runs.
    text = page.read_text().replace(' loading="lazy"', "")
    assert text.count("<head>") == text.count("</body>") == 1
    copy.write_text(text.replace("<head>", f"<head>{policy}").replace("</body>", f"{run}</body>"))
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", copy.as_uri()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    finally:
        copy.unlink()
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, f"the script did not run to its end:\n{done.stderr[-2000:]}"
    messages = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(found[1])), messages, done.stdout


@needs_chromium
def test_the_page_opens_without_a_console_message_and_asks_for_nothing_outside(
    report: ReportResult, tmp_path: Path
) -> None:
    script = """
    const requests = performance.getEntriesByType("resource").map(one => one.name);
    return {
      requests: requests.filter(name => !/^data:/.test(name)),
      broken: [...document.images].filter(image => !image.naturalWidth).map(image => image.alt),
      images: document.images.length,
      title: document.title,
    };"""
    found, messages, _ = browse(report.directory / "index.html", tmp_path, script)
    assert messages == []
    assert found["requests"] == []
    assert found["broken"] == []
    assert found["images"] > 10
    assert found["title"] == "Augean report"


@needs_chromium
def test_this_harness_sees_errors_and_requests(tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    page.write_text(
        "<!doctype html><html><head></head><body><img"
        " src='http://127.0.0.1:9/x.png'><script>nonsense()</script></body></html>"
    )
    _, messages, _ = browse(page, tmp_path / "profile")
    assert any("nonsense is not defined" in message for message in messages)
    assert any("127.0.0.1:9" in message for message in messages)


@needs_chromium
def test_every_column_of_every_table_sorts_up_down_and_by_keyboard(
    report: ReportResult, tmp_path: Path
) -> None:
    script = """
    const tables = [...document.querySelectorAll("table.sortable, table.runs")];
    return tables.map(table => [...table.tHead.rows[0].cells].flatMap((head, column) => {
      const button = head.querySelector("button");
      if (!button) return [];
      const rows = table.tBodies[0].rows;
      const read = () => [...rows].map(row => row.cells[column].textContent.trim());
      button.focus();
      const before = read(), focused = document.activeElement === button;
      button.click();
      const up = read(), first = head.getAttribute("aria-sort");
      button.click();
      const second = head.getAttribute("aria-sort");
      return [{heading: head.textContent, before, up, down: read(), first, second, focused,
               sorted: table.querySelectorAll("[aria-sort]").length}];
    }));"""
    tables, messages, _ = browse(report.directory / "index.html", tmp_path, script)
    assert messages == []
    columns = [column for table in tables for column in table]
    assert len(tables) > 5
    assert len(columns) > 40
    for column in columns:
        assert (column["first"], column["second"], column["sorted"]) == (
            "ascending",
            "descending",
            1,
        )
        assert column["focused"]
        assert sorted(column["before"]) == sorted(column["up"]) == sorted(column["down"])
        for key in ("up", "down"):  # what there is not comes last, whichever way
            absent = [text in ("", "-") for text in column[key]]
            assert absent == sorted(absent)
        up, down = (
            [text for text in column[key] if text not in ("", "-")] for key in ("up", "down")
        )
        assert ranks(up) == sorted(ranks(up))
        assert ranks(down) == sorted(ranks(up), reverse=True)
    numbers = next(
        column for column in columns if column["heading"] == "test, %" and "-" not in column["up"]
    )
    assert [float(text) for text in numbers["up"]] == sorted(
        float(text) for text in numbers["before"]
    )


def ranks(texts: list[str]) -> list[float] | list[str]:
    """What the page orders a column by: numbers where all are numbers, else letters."""
    try:
        return [float(re.sub(r"[±,\s]", "", text.replace("\u2212", "-"))) for text in texts]
    except ValueError:
        return [text.lower() for text in texts]


@needs_chromium
def test_the_filter_hides_other_runs_and_counts_the_rest(
    report: ReportResult, tmp_path: Path
) -> None:
    script = """
    const list = document.querySelector(".run-list"), input = list.querySelector("input");
    const rows = () => [...list.querySelector("tbody").rows].map(row => row.textContent);
    const total = rows().length;
    input.value = "TABLE4 failed";
    input.dispatchEvent(new Event("input"));
    return [rows(), total, list.querySelector(".count").textContent];"""
    (shown, total, count), messages, _ = browse(report.directory / "index.html", tmp_path, script)
    assert messages == []
    assert len(shown) == 1
    assert "failed" in shown[0]
    assert count == f"1 of {total} runs"


@needs_chromium
def test_the_list_of_runs_is_paged_and_sorted_as_a_whole(tmp_path: Path) -> None:
    write_many(tmp_path, 130, epochs=2, seeds=10, tables=1)
    script = """
    const list = document.querySelector(".run-list");
    const [back, on] = list.querySelectorAll(".pages button");
    const page = () => [...list.querySelector("tbody").rows].map(row => row.cells[5].textContent);
    list.querySelector("[data-column=test] button").click();
    const pages = [page()], ends = [back.disabled];
    for (let turn = 0; turn < 2; turn += 1) {
      on.click();
      pages.push(page());
    }
    ends.push(on.disabled);
    return [pages, ends, list.querySelector(".pages span").textContent];"""
    report = make_report(tmp_path).directory
    (pages, ends, text), messages, _ = browse(report / "index.html", tmp_path / "profile", script)
    assert messages == []
    assert [len(page) for page in pages] == [50, 50, 30]
    scores = [float(score) for page in pages for score in page]
    assert scores == sorted(scores)
    assert ends == [True, True]
    assert text == "Page 3 of 3"


@needs_chromium
def test_runs_are_charted_without_a_network_and_chosen_ones_described(
    report: ReportResult, tmp_path: Path
) -> None:
    # Without a window nothing comes into view, so the charts are asked for. They take a moment.
    script = """
    startExplore();
    const texts = choice => [...document.querySelectorAll(choice)].map(item => item.textContent);
    const look = setInterval(() => {
      if (!window.Bokeh?.documents.length) return;
      clearInterval(look);
      const [layout] = Bokeh.documents.at(-1).roots();
      const source = layout.children[0].renderers[0].data_source;
      source.selected.indices = [0];
      const outcome = [source.data.id, source.data.values[0].length, texts(".chosen"),
                       texts("#explore option")];
      const out = document.createElement("pre");
      out.id = "outcome";
      out.textContent = JSON.stringify(outcome);
      document.body.append(out);
    }, 50);
    return null;"""
    _, messages, document = browse(report.directory / "index.html", tmp_path, script)
    assert [message for message in messages if "bokeh" not in message] == []
    found = re.search(r'<pre id="outcome">(.*?)</pre>', document, re.DOTALL)
    assert found, messages
    ids, num_epochs, (chosen,), names = json.loads(html.unescape(found[1]))
    data = page_data(report.directory)
    table = data["tables"][0]
    assert ids == [data["id"][place] for place in table["runs"]]
    assert num_epochs == 10
    assert ids[0] in chosen
    assert page_commands(report.directory)[ids[0]] in chosen
    assert EVIL in names


@needs_chromium
def test_names_with_html_stay_text_in_the_document(report: ReportResult, tmp_path: Path) -> None:
    script = """
    const section = document.getElementById("table-evil");
    const foreign = document.querySelectorAll("img:not([src^='data:'])");
    return [section.querySelector("h2").textContent, section.querySelector("tbody th").textContent,
            foreign.length, document.scripts.length, document.title];"""
    (heading, row, foreign, scripts, title), messages, _ = browse(
        report.directory / "index.html", tmp_path, script
    )
    assert messages == []
    assert heading == EVIL
    assert row == EVIL + "a"
    assert foreign == 0
    assert scripts == 4  # the runs, the library of the charts, the page's own and this test's
    assert title == "Augean report"


@needs_chromium
@pytest.mark.parametrize("width", [400, 768, 1400])
def test_nothing_sticks_out_of_a_window_and_verdicts_need_no_scrolling(
    report: ReportResult, tmp_path: Path, width: int
) -> None:
    # Headless Chromium has no window narrower than 500 pixels, so the page is laid out in a frame
    # of its own.
    script = f"""
    const page = document.documentElement.innerHTML, frame = document.createElement("iframe");
    frame.style.cssText = "width:{width}px;height:900px;border:0";
    document.body.append(frame);
    const root = frame.contentDocument.documentElement;
    root.innerHTML = page;
    const out = [...root.querySelectorAll("body *")].filter(item =>
      item.getBoundingClientRect().right > root.clientWidth && !item.closest(".scroll, .frame"));
    const hidden = [], rows = [...root.querySelectorAll("tbody tr:has(th[data-verdict])")];
    for (const row of rows) {{
      const label = row.querySelector("th"), cell = row.querySelector("td.verdict");
      const below = frame.contentWindow.getComputedStyle(label, "::after").content;
      const shown = below === "none" ? cell : label;
      const isLong = label.textContent.length > 30;  // a label of so many letters may stick out
      if (!isLong && !(shown.getBoundingClientRect().right <= root.clientWidth))
        hidden.push(row.outerHTML);
    }}
    return [root.scrollWidth, root.clientWidth, out.map(item => item.outerHTML.slice(0, 200)),
      rows.length, hidden];"""
    (needed, there, out, num_rows, hidden), messages, _ = browse(
        report.directory / "index.html", tmp_path, script
    )
    assert messages == []
    assert width - 20 <= there <= width  # a scroll bar may take some
    assert out == []
    assert needed <= there
    assert num_rows > 10
    assert hidden == []


def compile_latex(folder: Path, options: str, tables: list[Path]) -> str:
    """Compile a document that has and names each of these tables; return LaTeX's log."""
    inputs = ""
    for path in tables:
        text = path.read_text()
        if "{longtable}" in text:
            text = f"\\onecolumn\n{text}"
        inputs += f"Table~\\ref{{tab:{anchor(path.stem)}}}.\n{text}\n"
    head = rf"\documentclass[{options}]{{article}}\usepackage{{booktabs,graphicx,longtable}}"
    (folder / "tables.tex").write_text(f"{head}\\begin{{document}}\n{inputs}\\end{{document}}\n")
    assert PDFLATEX is not None
    command = [
        PDFLATEX,
        "-interaction=nonstopmode",
        "-halt-on-error",
        "-no-shell-escape",
        "tables.tex",
    ]
    for _ in range(2):  # the second time for the references
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    return (folder / "tables.log").read_text(errors="replace")


@needs_latex
@pytest.mark.parametrize("options", ["11pt", "twocolumn"])
def test_every_table_compiles_with_pdflatex_and_stands_in_the_text(
    report: ReportResult, tmp_path: Path, options: str
) -> None:
    tables = sorted((report.directory / "tables").glob("*.tex"))
    assert len(tables) == 5
    # A float of so many rows would lose its end.
    write_scores(tmp_path, {f"row {number}": [80.0, 81.0] for number in range(60)}, baseline=None)
    tables.append(make_report(tmp_path).directory / "tables" / "one.tex")
    log = compile_latex(tmp_path, options, tables)
    assert "undefined references" not in log
    assert "Missing character" not in log
    assert "Overfull" not in log
    assert "Float too large" not in log


@needs_latex
def test_pdflatex_sets_every_letter_that_it_is_said_to_set(tmp_path: Path) -> None:
    letters = [chr(code) for code in range(0x20, 0x2800) if not 0x7F <= code < 0xA0]
    known = [letter for letter in letters if not beyond_pdflatex(latex(letter))]
    assert len(known) > 350
    text = "\n\n".join(latex(letter) for letter in known)
    head = r"\documentclass{article}\usepackage[T1]{fontenc}\begin{document}"
    (tmp_path / "letters.tex").write_text(f"{head}\n{text}\n\\end{{document}}\n")
    assert PDFLATEX is not None
    command = [PDFLATEX, "-interaction=nonstopmode", "-halt-on-error", "letters.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert "Missing character" not in (tmp_path / "letters.log").read_text(errors="replace")


@needs_chromium
def test_the_readmes_picture_shows_one_table_and_is_small(tmp_path: Path) -> None:
    write_examples(tmp_path / "outputs")
    archive, target = tmp_path / "runs.tar.xz", tmp_path / "table.png"
    pack(tmp_path / "outputs", archive)
    command = [sys.executable, str(ROOT / "examples" / "picture.py"), str(archive)]
    subprocess.run([*command, "table1_activation", str(target)], check=True, timeout=120)
    with Image.open(target) as image:
        assert image.width > 1500
        assert 300 < image.height < 2000, "no table, or more than one"
        assert len(image.getcolors() or []) > 10
    assert target.stat().st_size < 150_000
    refused = subprocess.run([*command, "table9", str(target)], capture_output=True, text=True)
    assert "has no table whose name begins with table9" in refused.stderr
