"use strict";
// A cell as a number: "± 0.72", "± >100", "1,267" and "−7.45" are numbers, "-" is none and sorts last. An interval
// "90 to 100" is sorted by half its width.
const asNumber = text => {
  if (text === "-" || text === "") return NaN;
  const [low, high] = text.split(" to ").map(part => Number(part.replace("−", "-").replace(/[±>,\s]/g, "")));
  return high === undefined ? low : (high - low) / 2;
};
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const ascending = head.getAttribute("aria-sort") !== "ascending";
    const rows = [...body.rows].map(row => ({ row, text: row.cells[column].textContent.trim() }));
    const numeric = rows.every(item => item.text === "-" || item.text === "" || !Number.isNaN(asNumber(item.text)));
    for (const item of rows) item.key = numeric ? asNumber(item.text) : item.text.toLowerCase();
    const absent = key => numeric ? Number.isNaN(key) : key === "" || key === "-";
    rows.sort((a, b) => absent(a.key) - absent(b.key) || (absent(a.key) ? 0
      : (a.key < b.key ? -1 : a.key > b.key ? 1 : 0) * (ascending ? 1 : -1)));
    body.append(...rows.map(item => item.row));
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  }));
}
