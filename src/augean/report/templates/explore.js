// The charts of all runs of a table: curves, and a scatter of any two entries. They are made by Bokeh when the reader
// comes near them, so that the page opens at once.
const explore = document.getElementById("explore");
const GREY = "#8c959f";
const DARK_THEME = matchMedia("(prefers-color-scheme: dark)");
const MAX_LISTED = 10;
// More names than these cannot be read on an axis.
const MAX_NAMES = 30;
const theme = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const loadBokeh = async () => {
  const letters = atob(document.getElementById("chart-library").textContent);
  const packed = Uint8Array.from(letters, letter => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  // It notes in the console when each chart is drawn.
  Bokeh.set_log_level("warn");
};

// What an axis can show of a table's runs: numbers, or names that stand side by side.
const numbers = (name, log, values) => ({name, values, names: null,
  log: log && values.every(value => value === null || value > 0) && spread(values) > 50});
const spread = values => {
  const present = values.filter(value => value !== null);
  return present.reduce((a, b) => Math.max(a, b), -Infinity) / present.reduce((a, b) => Math.min(a, b), Infinity);
};
const names = (name, labels) => {
  const different = [...new Set(labels)];
  const place = new Map(different.map((label, index) => [label, index]));
  return {name, values: labels.map(label => place.get(label)), names: different, log: false};
};
const fieldsOf = table => {
  const pick = entries => table.runs.map(run => entries[run]);
  const fields = [names("row", table.row.map(row => table.rows[row]))];
  for (const [key, {values, of}] of Object.entries(data.keys)) {
    const own = table.runs.map(run => values[of[run]]);
    if (new Set(own).size < 2) continue;
    const isNumeric = own.every(value => value === null || typeof value === "number");
    fields.push(isNumeric ? numbers(key, true, own) : names(key, own.map(String)));
  }
  fields.push(numbers("seed", false, pick(data.seed)), numbers("validation, %", false, pick(data.validation)),
    numbers("test, %", false, pick(data.test)), numbers("seconds", true, pick(data.seconds)));
  return fields;
};

const colourPlot = plot => {
  plot.background_fill_color = plot.border_fill_color = theme("--paper");
  plot.outline_line_color = theme("--line");
  for (const axis of [...plot.below, ...plot.left]) {
    axis.axis_label_text_color = axis.major_label_text_color = theme("--ink");
    axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = theme("--muted");
    axis.axis_label_text_font_style = "normal";
  }
  for (const grid of plot.center) grid.grid_line_color = theme("--line");
  plot.toolbar.logo = null;
};
const newPlot = (xLabel, yLabel, more) => Bokeh.Plotting.figure({
  height: 340, sizing_mode: "stretch_width", toolbar_location: "above",
  tools: "pan,box_zoom,wheel_zoom,box_select,tap,reset",
  // With a finger a drag scrolls the page until the reader picks a tool.
  active_drag: null, x_axis_label: xLabel, y_axis_label: yLabel, ...more,
});
const addHover = (plot, renderer, more) => {
  const tooltips = [
    ["run", "@id"], ["row", "@row"], ["seed", "@seed"], ["validation, %", "@validation"], ["test, %", "@test"],
  ];
  plot.add_tools(new Bokeh.HoverTool({renderers: [renderer], tooltips, ...more}));
};
const nameTicks = (axis, field) => {
  if (!field.names || field.names.length > MAX_NAMES) return;
  axis.ticker = new Bokeh.FixedTicker({ticks: field.names.map((_, index) => index)});
  const shorten = name => name.length > 18 ? `${name.slice(0, 17)}…` : name;
  axis.major_label_overrides = new Map(field.names.map((name, index) => [index, shorten(name)]));
};

const drawCurves = source => {
  const plot = newPlot("epoch", "validation accuracy, %", {});
  const lines = plot.multi_line({field: "epochs"}, {field: "values"}, {
    source, line_color: {field: "colour"}, line_width: 1.3, line_alpha: 0.7, nonselection_line_alpha: 0.12,
    selection_line_alpha: 1, selection_line_width: 2.5, hover_line_alpha: 1,
  });
  addHover(plot, lines, {line_policy: "nearest"});
  return plot;
};
const drawScatter = (source, x, y) => {
  const typeOf = field => field.log ? "log" : "linear";
  const plot = newPlot(x.name, y.name, {x_axis_type: typeOf(x), y_axis_type: typeOf(y)});
  const points = plot.scatter({field: "x"}, {field: "y"}, {
    source, size: 8, fill_color: {field: "colour"}, line_color: null, fill_alpha: 0.75, nonselection_fill_alpha: 0.18,
    selection_fill_alpha: 1,
  });
  addHover(plot, points, {});
  nameTicks(plot.xaxis[0] ?? plot.below[0], x);
  nameTicks(plot.yaxis[0] ?? plot.left[0], y);
  if (x.names) plot.below[0].major_label_orientation = x.names.length > 6 ? 0.7 : "horizontal";
  return plot;
};

// The runs that a table's charts show, with their values, and what trains each again.
const describe = (table, fields, place) => {
  const run = table.runs[place];
  const facts = fields.map(field => {
    const value = field.names ? field.names[field.values[place]] : field.values[place] ?? "-";
    return field.name.endsWith(", %") ? `${field.name.slice(0, -3)} ${value} %` : `${field.name} ${value}`;
  });
  const item = element("li", {}, element("code", {}, data.id[run]), ` ${stateOf(run)}: ${facts.join(", ")}`);
  const command = commandOf(run);
  if (command) item.append(element("br"), element("code", {className: "command"}, command));
  return item;
};

// Rows side by side where there are a few of them, else the first key in which runs differ.
const usualAxes = (table, fields) => {
  const key = fields.find(field => field.name in data.keys);
  const rowsAreReadable = table.rows.length > 1 && table.rows.length <= MAX_NAMES;
  const haveTest = table.runs.some(run => data.test[run] !== null);
  return [rowsAreReadable || !key ? "row" : key.name, haveTest ? "test, %" : "validation, %"];
};
const showTable = (table, xName, yName) => {
  const fields = fieldsOf(table);
  const [xChoice, yChoice] = ["x", "y"].map(axis => explore.querySelector(`select[name=${axis}]`));
  const fieldOf = (choice, name, usual) => {
    const field = fields.find(item => item.name === name) ?? fields.find(item => item.name === usual);
    choice.replaceChildren(...fields.map(item => element("option", {selected: item === field}, item.name)));
    return field;
  };
  const [usualX, usualY] = usualAxes(table, fields);
  const x = fieldOf(xChoice, xName, usualX);
  const y = fieldOf(yChoice, yName, usualY);
  const curves = table.runs.map(curveOf);
  const colours = data.palettes[DARK_THEME.matches ? "dark" : "light"];
  const source = new Bokeh.ColumnDataSource({data: {
    x: x.values.map(value => value ?? NaN), y: y.values.map(value => value ?? NaN),
    epochs: curves.map(curve => curve?.epochs ?? []), values: curves.map(curve => curve?.values ?? []),
    colour: table.row.map(row => colours[table.colours[row]] ?? GREY), row: table.row.map(row => table.rows[row]),
    id: table.runs.map(run => data.id[run]),
    seed: table.runs.map(run => String(data.seed[run] ?? "-")),
    validation: table.runs.map(run => number(data.validation[run], 2)),
    test: table.runs.map(run => number(data.test[run], 2)),
  }});
  const plots = [drawScatter(source, x, y)];
  if (curves.some(Boolean)) plots.unshift(drawCurves(source));
  plots.forEach(colourPlot);
  const chosen = explore.querySelector(".chosen");
  chosen.replaceChildren();
  source.selected.properties.indices.change.connect(() => {
    const {indices} = source.selected;
    const items = indices.slice(0, MAX_LISTED).map(place => describe(table, fields, place));
    if (indices.length > MAX_LISTED) items.push(element("li", {}, `and ${indices.length - MAX_LISTED} more runs`));
    chosen.replaceChildren(...items);
  });
  // Both in one document of Bokeh, as they share their data and the choice of runs.
  const Layout = matchMedia("(min-width: 60rem)").matches ? Bokeh.Row : Bokeh.Column;
  const charts = element("div", {className: "chart"});
  explore.querySelector(".charts").replaceChildren(charts);
  Bokeh.Plotting.show(new Layout({children: plots, sizing_mode: "stretch_width"}), charts);
};

const startExplore = async () => {
  await loadBokeh();
  const tables = data.tables.filter(table => table.runs.length);
  const choices = ["table", "x", "y"].map(name => explore.querySelector(`select[name=${name}]`));
  const [tableChoice, xChoice, yChoice] = choices;
  tableChoice.append(...tables.map((table, index) => element("option", {value: index}, table.title)));
  const draw = (keepAxes = true) =>
    showTable(tables[tableChoice.value], keepAxes ? xChoice.value : "", keepAxes ? yChoice.value : "");
  tableChoice.addEventListener("change", () => draw(false));
  for (const choice of [xChoice, yChoice]) choice.addEventListener("change", () => draw());
  DARK_THEME.addEventListener("change", () => draw());
  draw(false);
};
// Without the library there is only a sentence that says so.
if (document.getElementById("chart-library")) {
  const observer = new IntersectionObserver(entries => {
    if (!entries.some(entry => entry.isIntersecting)) return;
    observer.disconnect();
    startExplore();
  }, {rootMargin: "400px"});
  observer.observe(explore);
}
