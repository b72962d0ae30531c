// A row of a table beside its nearest rows: where they differ is what the labels must explain.

import { named } from "./content.js";
import { count, el, short, theirs } from "./dom.js";

const FIRST = 14; // columns shown at once, the most telling ones

/** The columns of a row, and those of its neighbours once they are known. */
export function compare(task, neighbours) {
  const { columns } = task.content;
  const head = el("tr", {}, el("td"), el("th.this", { scope: "col" }, "This row"));
  const labels = el("tr.labels", {}, el("th", { scope: "row" }, "label"), el("td", {}, named(task.given, task)));
  const rows = columns.map(([name, value, why], at) => el("tr", { hidden: at >= FIRST },
    el("th", { scope: "row" }, theirs(name, 60), why && el("small", {}, theirs(why, 120))), el("td.this", { dir: "auto" }, short(String(value ?? "–"), 400))));
  const title = el("caption", {}, "Columns, the most telling first");
  const table = el("table.compare", {}, title, el("thead", {}, head, labels), el("tbody", {}, ...rows));
  const scroll = el("div.scroll", { tabindex: "0", role: "group", "aria-label": "Columns of this row and of its neighbours" }, table);
  const more = columns.length > FIRST && el("button.quiet.more", {
    type: "button",
    onclick: (event) => { rows.forEach((row) => { row.hidden = false; }); event.target.remove(); },
  }, `Show all ${count(columns.length)} columns`);
  neighbours.then((found) => {
    const alike = found.filter((one) => one.content?.columns?.length).slice(0, 5);
    if (!alike.length) return;
    title.textContent = "This row beside its nearest rows; what differs is in bold";
    for (const one of alike) {
      const known = new Map(one.content.columns.map(([name, value]) => [name, value]));
      head.append(el("th", { scope: "col" }, `Row ${count(one.row)}`));
      labels.append(el("td", {}, named(one.label, task)));
      for (const [at, [name, value]] of columns.entries()) {
        const other = known.get(name);
        rows[at].append(el(`td${String(other) === String(value) ? ".same" : ".differs"}`, { dir: "auto" }, short(String(other ?? "–"), 200)));
      }
    }
  });
  return el("section.block", {}, scroll, more);
}
