"use strict";

/** The text of an element that holds it compressed by gzip, in base64. */
async function unpacked(id) {
  const packed = document.getElementById(id).textContent;
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

// --- Figures: as wide as the page, their panels below each other where it is narrow.

const NARROW = 640, PRINTED = 670; // pixels

async function draw(element) {
  const { data, layout } = JSON.parse(element.firstElementChild.textContent);
  element.replaceChildren();
  const panels = Object.keys(layout).filter((key) => /^xaxis\d*$/.test(key)).map((x) => {
    const y = "yaxis" + x.slice(5);
    const { domain: tall = [0, 1], showticklabels: labelled = true } = layout[y] ?? {};
    return { x, y, wide: layout[x].domain, tall, labelled };
  });
  await Plotly.newPlot(element, data, layout, { displayModeBar: false, responsive: true });
  return { element, panels, height: layout.height, margin: layout.margin };
}

function place({ element, panels, height, margin }, width) {
  const narrow = width <= NARROW, printed = width === PRINTED;
  const change = { width: printed ? width : null, autosize: !printed };
  if (panels.length > 1) {
    const each = 1 / (panels.length - 0.25); // a panel with the space below it
    panels.forEach(({ x, y, wide, tall, labelled }, i) => {
      change[`${x}.domain`] = narrow ? [0, 1] : wide;
      change[`${y}.domain`] = narrow ? [Math.max(0, 1 - (i + 0.75) * each), 1 - i * each] : tall;
      change[`${y}.showticklabels`] = narrow || labelled;
    });
    change.height = narrow ? margin.t + margin.b + 230 * panels.length : height;
  }
  return Plotly.relayout(element, change);
}

async function drawFigures() {
  const script = document.createElement("script");
  script.textContent = await unpacked("plotly");
  document.head.append(script);
  const figures = await Promise.all([...document.querySelectorAll(".figure")].map(draw));
  const placed = (width) => figures.forEach((figure) => place(figure, width));
  matchMedia(`(max-width: ${NARROW}px)`).addEventListener("change", () => placed(innerWidth));
  if (innerWidth <= NARROW) placed(innerWidth);
  // A page is narrower than a window: draw the figures at its width while printing.
  addEventListener("beforeprint", () => placed(PRINTED));
  addEventListener("afterprint", () => placed(innerWidth));
}

drawFigures();

// --- The strategy file, to be copied.

document.getElementById("copy")?.addEventListener("click", async ({ target }) => {
  await navigator.clipboard.writeText(document.getElementById("best").textContent);
  target.textContent = "Copied";
});

// --- The table of all evaluations.

const PAGE = 50; // rows shown first, and more at a time later
const FIRST = ["method", "number", "VALUE", "images", "forward_passes", "training_steps",
  "seconds", "role", "state"];
const HIDDEN = ["probe", "step", "seed", "validation_loss", "finished", "reason"]; // only in the CSV
const HEADINGS = { number: "evaluation", forward_passes: "passes", training_steps: "training steps" };

function csvOf({ columns, rows }) {
  const cell = (value) => value === null ? "" :
    /[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value;
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

/** The columns of the table: a heading, what a row shows there, and by what rows are sorted. */
function columnsOf({ columns, rows }, metrics) {
  const index = new Map(columns.map((name, i) => [name, i]));
  const fixed = (decimals) => (value) => value === null ? "" : value.toFixed(decimals);
  const count = (value) => typeof value === "number" ? value.toLocaleString("en") : value ?? "";
  const format = {
    images: count, training_steps: count,
    seconds: (value) => value === null ? "" : value.toFixed(1),
  };
  const headings = { ...HEADINGS };
  for (const [name, { label, decimals }] of Object.entries(metrics)) {
    format[name] = format[`${name}_se`] = fixed(decimals);
    headings[name] = label, headings[`${name}_se`] = "±";
  }
  const values = Object.keys(metrics).flatMap((name) => [name, `${name}_se`]);
  const first = FIRST.flatMap((name) => name === "VALUE" ? values : name), schedule = /^(.*)_(\d+)$/;
  const others = columns.filter((name) => ![...first, ...HIDDEN].includes(name) && !schedule.test(name));
  const single = [...first, ...others]
    .filter((name) => index.has(name) && rows.some((row) => ![null, 0, "COMPLETE"].includes(row[index.get(name)])))
    .map((name) => {
      const i = index.get(name);
      return {
        name,
        heading: headings[name] ?? name,
        number: rows.some((row) => typeof row[i] === "number"),
        key: (row) => row[i],
        text: (row) => (format[name] ?? ((value) => value ?? ""))(row[i]),
      };
    });
  const lists = new Map(); // the values of each schedule, which a cell shows together
  columns.forEach((name, i) => {
    const found = schedule.exec(name);
    if (found) lists.set(found[1], [...lists.get(found[1]) ?? [], i]);
  });
  const short = (value) => value === null ? "–" : String(Number(value.toPrecision(3)));
  return [...single, ...[...lists].map(([name, places]) => ({
    heading: name.replaceAll("_", " "),
    number: false,
    key: (row) => row[places[0]],
    text: (row) => places.map((i) => short(row[i])).join("  "),
  }))];
}

async function showEvaluations() {
  const table = document.getElementById("table"), more = document.getElementById("more");
  const data = JSON.parse(await unpacked("evaluations"));
  const metrics = JSON.parse(table.dataset.metrics);
  const columns = columnsOf(data, metrics), reasons = data.columns.indexOf("reason");
  let rows = data.rows, sorted = null, falls = false, count = PAGE;

  function show() {
    const body = rows.slice(0, count).map((row) => {
      const line = document.createElement("tr");
      line.append(...columns.map((column) => {
        const cell = document.createElement("td");
        cell.textContent = column.text(row);
        cell.className = column.number ? "number" : "";
        return cell;
      }));
      if (reasons >= 0) line.title = row[reasons] ?? "";
      return line;
    });
    table.tBodies[0].replaceChildren(...body);
    const shown = Math.min(count, rows.length).toLocaleString("en");
    document.getElementById("shown").textContent =
      `${shown} of ${rows.length.toLocaleString("en")} evaluations are shown; the CSV has all of them, with all digits.`;
    more.hidden = count >= rows.length;
    [...table.tHead.rows[0].cells].forEach((cell, i) => {
      cell.ariaSort = columns[i] === sorted ? (falls ? "descending" : "ascending") : "none";
    });
  }

  function sort(column) {
    falls = column === sorted && !falls;
    sorted = column;
    const compare = (a, b) => typeof a === "number" ? a - b : String(a).localeCompare(String(b));
    const missing = (key) => key === null || key === undefined || key === "";
    rows = [...data.rows].sort((one, other) => {
      const [a, b] = [column.key(one), column.key(other)];
      if (missing(a) || missing(b)) return missing(a) - missing(b);
      return falls ? compare(b, a) : compare(a, b);
    });
    show();
  }

  const head = document.createElement("tr");
  head.append(...columns.map((column) => {
    const cell = document.createElement("th"), button = document.createElement("button");
    button.type = "button";
    button.textContent = column.heading;
    button.addEventListener("click", () => sort(column));
    cell.className = column.number ? "number" : "";
    cell.append(button);
    return cell;
  }));
  table.tHead.replaceChildren(head);
  more.addEventListener("click", () => { count += 10 * PAGE; show(); });
  document.getElementById("save").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csvOf(data)], { type: "text/csv" }));
    link.download = "evaluations.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  sort(columns.find((column) => column.name in metrics) ?? columns[0]);
}

if (document.getElementById("evaluations")) showEvaluations();
