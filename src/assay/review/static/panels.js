// The list of rows at the side: what I decided, to jump back and change it; what comes, to decide it at once.

import { Away, call, className } from "./api.js";
import { byId, count, el, memory, percent, theirs } from "./dom.js";
import { inWords } from "./outbox.js";

let open = null; // which list is shown
let pick = () => {};
let shownRow = null;
let local = () => [];
let asked = 0;

const WHY = { flagged: "flagged", random: "random draw", second: "second look", dispute: "dispute" };
const clock = (time) => { const at = new Date(time); return Number.isNaN(at.getTime()) ? "" : at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }); };

function labels(one) {
  const [given, suggested] = [className(one.given), className(one.suggested)];
  return el("span", {}, given === null ? "no label" : theirs(given, 40), suggested !== null && suggested !== given && [" → ", theirs(suggested, 40)]);
}

function item(one, said, when) {
  const current = one.row === shownRow;
  return el("li", {}, el("button.item", { type: "button", "aria-current": current && "true", onclick: () => pick(one, open) },
    el("span.small.when", {}, el("span", {}, `row ${count(one.row)}`), el("span", {}, when)), el("span.said", {}, said), el("span.small", {}, labels(one))));
}

async function fill() {
  const turn = ++asked;
  const panel = byId("panel");
  try {
    let items;
    if (open === "history") {
      const kept = local();
      const keys = new Set(kept.map((one) => one.key));
      const said = await call("/api/history?limit=100");
      const known = (said.history ?? said.decisions ?? said).filter((one) => !keys.has(one.key));
      items = [...kept, ...known].map((one) => item(one, inWords(one), one.event ? clock(one.time) : "on its way"));
    } else {
      const said = await call("/api/upcoming?offset=0&limit=50");
      items = (said.upcoming ?? said.rows ?? said).map((one) => item(one, typeof one.p_wrong === "number" ? `${percent(one.p_wrong)[0]} likely wrong` : "", WHY[one.why] ?? ""));
    }
    if (turn !== asked) return;
    panel.replaceChildren(items.length ? el("ol.items", {}, ...items) : el("p.empty", {}, open === "history" ? "You have not decided anything yet." : "Nothing is waiting."));
  } catch (error) {
    if (turn === asked) panel.replaceChildren(el("p.empty", {}, error instanceof Away ? "The list comes back with the server." : error.message));
  }
}

/** Say which row is on the page; the open list is read anew. */
export function refreshLists(row) {
  shownRow = row;
  if (open) fill();
}

function show(which) {
  open = which;
  byId("side").hidden = !which;
  document.body.classList.toggle("with-side", Boolean(which));
  byId("lists").setAttribute("aria-expanded", String(Boolean(which)));
  memory.set("side", which ?? "");
  for (const name of ["history", "upcoming"]) {
    byId(`tab-${name}`).setAttribute("aria-selected", String(which === name));
    byId(`tab-${name}`).tabIndex = which === name ? 0 : -1;
  }
  if (!which) return;
  byId("panel").setAttribute("aria-labelledby", `tab-${which}`);
  fill();
}

export function toggleLists() {
  const leaving = open && byId("side").contains(document.activeElement);
  show(open ? null : "history");
  if (open) byId("tab-history").focus();
  else if (leaving) byId("lists").focus();
}

/** `chosen(entry, list)` is called with a row to open; `unsent()` gives the decisions still on their way. */
export function prepareLists(chosen, unsent) {
  pick = (one, list) => {
    if (window.matchMedia("(max-width: 60rem)").matches) show(null);
    chosen(one, list);
  };
  local = unsent;
  byId("lists").addEventListener("click", toggleLists);
  byId("side-close").addEventListener("click", toggleLists);
  for (const which of ["history", "upcoming"]) byId(`tab-${which}`).addEventListener("click", () => show(which));
  byId("side").addEventListener("keydown", (event) => {
    if (event.key === "Escape") toggleLists();
    if (event.target.role !== "tab" || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    show(open === "history" ? "upcoming" : "history");
    byId(`tab-${open}`).focus();
  });
  if (memory.get("side") && window.matchMedia("(min-width: 80rem)").matches) show(memory.get("side"));
}
