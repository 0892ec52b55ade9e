"use strict";
// The runs of this report, which the lists here and the charts read from one JSON. What its entries mean says
// run_data.py. A run is named by its place in the lists of entries.
const data = JSON.parse(document.getElementById("run-data").textContent);
const ROWS_A_PAGE = 50;

const FORMATS = [0, 1, 2].map(digits =>
  new Intl.NumberFormat("en-US", {minimumFractionDigits: digits, maximumFractionDigits: digits}));
const number = (value, digits, signed = false) => {
  if (value === null || value === undefined) return "-";
  const text = FORMATS[digits].format(Math.abs(value));
  if (Number(text.replaceAll(",", "")) === 0) return text;
  return (value < 0 ? "−" : signed ? "+" : "") + text;
};
const seconds = value => number(value, value !== null && value < 100 ? 1 : 0);
const stateOf = run => data.state.values[data.state.of[run]];
// The id was taken out of each command, as many commands differ in it alone.
const commandOf = run => data.command.values[data.command.of[run]].join(data.id[run]);

// The tables and rows that each run belongs to.
const placesOf = data.id.map(() => []);
for (const table of data.tables) {
  if (table.trials) continue;
  table.runs.forEach((run, place) => placesOf[run].push({table, row: table.rows[table.row[place]]}));
}
const toBaseline = run => {
  const place = placesOf[run].find(item => item.table.baseline !== null);
  if (!place || data.test[run] === null) return null;
  return data.test[run] - place.table.baseline;
};

// A running sum undoes the differences between neighbours.
const sums = changes => {
  let sum = 0;
  return changes.map(change => (sum += change));
};
// Epochs and validation accuracy in percent; null for a run without a curve.
const curveOf = run => {
  const changes = data.curves?.[run];
  if (!changes) return null;
  const epochs = data.epochs[run] ? sums(data.epochs[run]) : changes.map((_, index) => index + 1);
  return {epochs, values: sums(changes).map(value => value / 100)};
};

// All small curves have one scale.
let scale = null;
const scaleOfCurves = () => {
  if (scale) return scale;
  scale = {last: 2, low: Infinity, high: -Infinity};
  data.id.forEach((_, run) => {
    const curve = curveOf(run);
    if (!curve) return;
    scale.last = Math.max(scale.last, curve.epochs.at(-1));
    for (const value of curve.values) {
      scale.low = Math.min(scale.low, value);
      scale.high = Math.max(scale.high, value);
    }
  });
  return scale;
};
const smallCurve = run => {
  const curve = curveOf(run);
  if (!curve) return "";
  const {last, low, high} = scaleOfCurves();
  const points = curve.epochs.map((epoch, index) => {
    const x = 1 + 88 * (epoch - 1) / (last - 1);
    const y = 18.5 - 17 * (curve.values[index] - low) / (high - low || 1);
    return `${x.toFixed(0)},${y.toFixed(1)}`;
  });
  const image = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  image.setAttribute("class", "spark");
  image.setAttribute("viewBox", "0 0 90 20");
  image.setAttribute("role", "img");
  image.setAttribute("aria-label", "validation accuracy by epoch");
  image.append(document.createElementNS("http://www.w3.org/2000/svg", "polyline"));
  image.firstChild.setAttribute("points", points.join(" "));
  return image;
};

// What a page shows of a run is made of text nodes, so that names with HTML stay text.
const element = (name, attributes, ...children) => {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...children);
  return made;
};
const stateCell = run => {
  const cell = element("td", {className: `state ${stateOf(run)}`}, stateOf(run));
  const reason = data.outdated[run];
  if (reason) cell.append(", ", element("span", {className: "outdated", title: reason}, "outdated"));
  return cell;
};
const placesCell = run => {
  const cell = element("td", {className: "places"});
  placesOf[run].forEach(({table, row}, index) => {
    if (index) cell.append(element("br"));
    cell.append(element("a", {href: `#${table.anchor}`}, table.name), ` ${row}`);
  });
  return cell;
};
const numberCell = text => element("td", {className: "number"}, text);
const placesText = run => placesOf[run].map(({table, row}) => `${table.name} ${row}`).join(" ");

// Of each column: what it sorts by, and its cell.
const COLUMNS = {
  run: {key: run => data.id[run], cell: run => element("th", {scope: "row"}, element("code", {}, data.id[run]))},
  places: {key: placesText, cell: placesCell},
  state: {key: stateOf, cell: stateCell},
  seed: {key: run => data.seed[run], cell: run => numberCell(data.seed[run] ?? "-")},
  validation: {key: run => data.validation[run], cell: run => numberCell(number(data.validation[run], 2))},
  test: {key: run => data.test[run], cell: run => numberCell(number(data.test[run], 2))},
  difference: {key: toBaseline, cell: run => numberCell(number(toBaseline(run), 2, true))},
  curve: {cell: run => element("td", {}, smallCurve(run))},
  seconds: {key: run => data.seconds[run], cell: run => numberCell(seconds(data.seconds[run]))},
  command: {cell: run => element("td", {}, element("code", {className: "command"}, commandOf(run)))},
};

// Absent values come last, whichever way; numbers are compared as numbers.
const compare = (a, b, direction) => {
  const isAbsent = key => key === null || key === undefined || key === "";
  if (isAbsent(a) || isAbsent(b)) return isAbsent(a) - isAbsent(b);
  return (a < b ? -1 : a > b ? 1 : 0) * direction;
};

const showList = (list, runs) => {
  const heads = [...list.querySelectorAll("thead th")];
  const columns = heads.map(head => COLUMNS[head.dataset.column]);
  const body = list.querySelector("tbody");
  const [previous, next] = list.querySelectorAll(".pages button");
  const pages = list.querySelector(".pages span");
  const count = list.querySelector(".count");
  let order = runs;
  let shown = runs;
  let page = 0;
  let texts = null;

  const show = () => {
    const last = Math.max(0, Math.ceil(shown.length / ROWS_A_PAGE) - 1);
    page = Math.min(Math.max(page, 0), last);
    const rows = shown.slice(page * ROWS_A_PAGE, (page + 1) * ROWS_A_PAGE);
    body.replaceChildren(...rows.map(run => element("tr", {}, ...columns.map(column => column.cell(run)))));
    pages.textContent = `Page ${page + 1} of ${last + 1}`;
    previous.disabled = page === 0;
    next.disabled = page === last;
    previous.parentElement.hidden = last === 0;
  };
  const textOf = run => {
    const scores = [number(data.validation[run], 2), number(data.test[run], 2)];
    const texts = [data.id[run], placesText(run), stateOf(run), data.outdated[run] ? "outdated" : "", data.seed[run]];
    return [...texts, ...scores, commandOf(run)].join(" ").toLowerCase();
  };
  const filter = () => {
    const words = list.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length) texts ??= new Map(runs.map(run => [run, textOf(run)]));
    shown = words.length ? order.filter(run => words.every(word => texts.get(run).includes(word))) : order;
    count.textContent = words.length ? `${shown.length} of ${runs.length} runs` : "";
    show();
  };
  const sort = (head, column) => {
    const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const keyOf = run => {
      const key = column.key(run);
      return typeof key === "string" ? key.toLowerCase() : key;
    };
    const keys = new Map(runs.map(run => [run, keyOf(run)]));
    order = [...runs].sort((a, b) => compare(keys.get(a), keys.get(b), direction));
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    page = 0;
    filter();
  };
  heads.forEach((head, index) => {
    head.querySelector("button")?.addEventListener("click", () => sort(head, columns[index]));
  });
  list.querySelector("input").addEventListener("input", () => { page = 0; filter(); });
  previous.addEventListener("click", () => { page -= 1; show(); });
  next.addEventListener("click", () => { page += 1; show(); });
  show();
};
const allRuns = data.id.map((_, run) => run);
for (const list of document.querySelectorAll(".run-list")) {
  const inTables = list.dataset.runs === "listed";
  showList(list, allRuns.filter(run => (placesOf[run].length > 0) === inTables));
}
