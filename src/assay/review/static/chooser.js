// The chooser of a third class: type a few letters, press Enter. A thousand classes are as quick as ten.

import { session } from "./api.js";
import { byId, count, el, memory, theirs } from "./dom.js";

const SHOWN = 60;
const RECENT = 5;
let found = [];
let active = 0;
let settle = null;
let marked = {};
let folded = [];

const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

/** How well `name` answers `query`: 0 is best, null is not at all. */
function rank(name, query) {
  if (name === query) return 0;
  if (name.startsWith(query)) return 1;
  const at = name.indexOf(query);
  if (at > 0) return /[\p{L}\p{N}]/u.test(name[at - 1]) ? 3 : 2;
  let place = -1;
  for (const letter of query) if ((place = name.indexOf(letter, place + 1)) < 0) return null;
  return 4;
}

function recent() {
  try { return JSON.parse(memory.get("recent") ?? "[]").filter((name) => session.classes.includes(name)); } catch { return []; }
}

function search() {
  const query = fold(byId("class").value.trim());
  if (query) {
    found = folded.map((name, place) => [rank(name, query), place]).filter(([score]) => score !== null)
      .sort((one, other) => one[0] - other[0] || one[1] - other[1]).map(([, place]) => session.classes[place]);
  } else {
    found = [...new Set([...recent(), ...session.classes])];
  }
  active = 0;
  list();
}

function list() {
  const shown = found.slice(0, SHOWN);
  byId("classes").replaceChildren(...shown.map((name, place) => el("li", {
    role: "option", id: `class-${place}`, "aria-selected": String(place === active),
    onclick: () => finish(name),
  }, theirs(name), marked[name] && el("span.mark", {}, marked[name]))));
  byId("classes-more").textContent = !found.length ? "No class is called that. Escape, then Neither, leaves a note."
    : found.length > shown.length ? `${count(shown.length)} of ${count(found.length)} classes shown: type more letters.`
      : found.length === 1 ? "1 class" : `${count(found.length)} classes`;
  mark();
}

function mark() {
  const options = byId("classes").children;
  for (const [place, option] of [...options].entries()) option.setAttribute("aria-selected", String(place === active));
  const chosen = options[active];
  if (chosen) byId("class").setAttribute("aria-activedescendant", chosen.id);
  else byId("class").removeAttribute("aria-activedescendant");
  chosen?.scrollIntoView({ block: "nearest" });
}

function finish(name) {
  const answer = settle;
  settle = null;
  byId("chooser").close();
  if (name !== null) memory.set("recent", JSON.stringify([name, ...recent().filter((one) => one !== name)].slice(0, RECENT)));
  answer?.(name);
}

/** Ask for a class; resolves to its name, or to null when nothing was chosen. */
export function choose(given, suggested) {
  marked = Object.assign(Object.create(null), given && { [given]: "given" }, suggested && { [suggested]: "suggested" });
  if (folded.length !== session.classes.length) folded = session.classes.map(fold);
  byId("class").value = "";
  search();
  byId("chooser").showModal();
  byId("class").focus();
  return new Promise((resolve) => { settle = resolve; });
}

export function prepareChooser() {
  byId("class").addEventListener("input", search);
  byId("chooser").addEventListener("close", () => finish(null));
  byId("class").addEventListener("keydown", (event) => {
    const last = Math.min(found.length, SHOWN) - 1;
    const moves = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + 8, PageUp: active - 8 };
    if (event.key in moves) {
      event.preventDefault();
      active = Math.max(0, Math.min(last, moves[event.key]));
      mark();
    } else if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      if (found[active] !== undefined) finish(found[active]);
    }
  });
}
