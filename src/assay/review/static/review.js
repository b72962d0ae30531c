// The page where a person decides about labels: one key, one decision, and the next row is there.

import { Away, call, className, introduce, resume, session } from "./api.js";
import { choose, prepareChooser } from "./chooser.js";
import { Desk } from "./desk.js";
import { byId, count, el, memory, say, short } from "./dom.js";
import { pictureKey } from "./image.js";
import { Outbox, inWords } from "./outbox.js";
import { paintRest } from "./paint.js";
import { prepareLists, refreshLists, toggleLists } from "./panels.js";
import { showProgress } from "./progress.js";

const KEYS = [
  ["given", "1", "g", "The given label is right"], ["suggested", "2", "s", "The suggested label is right"],
  ["other", "3", "o", "Another class is right: choose it by its first letters"], ["both", "4", "b", "Both are right"],
  ["neither", "5", "n", "Neither is right"], ["skip", "6", "k", "Skip: no decision"],
];
const MORE = [
  ["U", "Undo my last decision; Backspace and Ctrl+Z too"], ["E", "Write a note; Escape leaves it"], ["H", "Rows decided and rows to come"],
  ["+ − 0", "Zoom a picture, fit it again"], ["[ ]", "Darker, brighter; { } for less, more contrast"], ["V", "Boxes and masks off or on"],
  ["?", "This help"],
];
const outbox = new Outbox();
const desk = new Desk(outbox);

async function decide(verdict) {
  const { task } = desk;
  if (!desk.canDecide(verdict)) return;
  const pressed = document.querySelector(`[data-verdict=${verdict}]`);
  if (verdict !== "other") {
    if (desk.decide(verdict)) flash(pressed);
    return;
  }
  const label = await choose(className(task.given), className(task.suggested));
  if (label === null || desk.task !== task) return;
  // Who chooses one of the two labels from the list has decided for it.
  const word = label === className(task.given) ? "given" : label === className(task.suggested) ? "suggested" : null;
  if (desk.decide(word ?? "other", word ? null : label)) flash(pressed);
}

function flash(button) {
  button.classList.remove("pressed");
  requestAnimationFrame(() => button.classList.add("pressed"));
}

function showSaved() {
  const [waiting, refused] = [outbox.unsent(), outbox.refused().length];
  const state = refused ? "refused" : outbox.error && waiting ? "away" : waiting ? "sending" : "saved";
  byId("saved").dataset.state = state;
  byId("saved-text").classList.toggle("busy", state !== "saved");
  byId("saved-text").textContent = { refused: `${count(refused)} not stored`, away: `${count(waiting)} waiting`, sending: `${count(waiting)} sending`, saved: "All saved" }[state];
  if (byId("saved-dialog").open) listWaiting();
}

function listWaiting() {
  const [waiting, refused] = [outbox.unsent(), outbox.refused()];
  const foreign = outbox.waiting().filter((item) => item.reviewer !== session.reviewer);
  byId("saved-sentence").textContent = [
    waiting ? outbox.error?.message ?? "They are being sent." : refused.length ? "" : "Everything you decided is stored.",
    waiting && outbox.error ? "Your decisions are kept in this browser and sent again and again until the server has them." : "",
    foreign.length ? `Some wait until their reviewer is back: ${[...new Set(foreign.map((item) => short(item.reviewer, 40)))].join(", ")}.` : "",
    outbox.kept ? "" : "This browser keeps nothing: do not close the page before all is sent.",
  ].filter(Boolean).join(" ");
  byId("saved-who").textContent = short(session.reviewer ?? "nobody yet", 64);
  byId("retry").hidden = !waiting;
  byId("waiting").replaceChildren(...outbox.waiting().slice(-50).map((item) => el("li", {}, `Row ${count(item.row)}: ${inWords(item)}`,
    item.refused && [el("span.small", {}, item.refused), el("button.quiet", { type: "button", onclick: () => outbox.drop(item.key) }, "Let it go")])));
}

function openDialog(id) {
  if (!document.querySelector("dialog[open]")) byId(id).showModal();
}

function askName() {
  byId("name").value = session.reviewer ?? memory.get("reviewer") ?? "";
  byId("name-cancel").hidden = !session.reviewer;
  byId("name-error").textContent = "";
  openDialog("name-dialog");
  byId("name").select();
}

async function named(event) {
  event.preventDefault();
  const name = byId("name").value.trim();
  if (!name) { byId("name-error").textContent = "A name of at least one letter, please."; return; }
  try {
    if (name !== session.reviewer) {
      if (session.reviewer) desk.clear();
      await introduce(name);
    }
    byId("name-dialog").close();
    begin();
  } catch (error) {
    byId("name-error").textContent = error.message;
  }
}

function begin() {
  byId("who").hidden = false;
  byId("who-name").textContent = short(session.reviewer, 40);
  showSaved();
  outbox.hurry();
  desk.fill();
}

function colours() {
  const names = { "": "as the system", light: "light", dark: "dark" };
  const order = ["", "light", "dark"];
  const root = document.documentElement;
  const show = () => byId("theme").setAttribute("aria-label", `Colours: ${names[root.dataset.theme ?? ""]}`);
  byId("theme").addEventListener("click", () => {
    const next = order[(order.indexOf(root.dataset.theme ?? "") + 1) % order.length];
    if (next) root.dataset.theme = next; else delete root.dataset.theme;
    memory.set("theme", next);
    show();
    say(`Colours: ${names[next]}`);
  });
  show();
}

function keyboard(event) {
  const { key, target } = event;
  const writing = target.matches?.("textarea, select, [contenteditable], input:not([type=checkbox]):not([type=range])");
  if (target.id === "note" && (key === "Escape" || (key === "Enter" && (event.ctrlKey || event.metaKey)))) {
    target.blur();
    event.preventDefault();
    return;
  }
  if (writing || event.isComposing || document.querySelector("dialog[open]")) return;
  if ((event.ctrlKey || event.metaKey) && key === "z" && !event.shiftKey) {
    event.preventDefault();
    if (!event.repeat) desk.undo();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || !byId("keys-on").checked) return;
  const letter = key.length === 1 ? key.toLowerCase() : key;
  // A range moves by its own keys; a decision by a key that is held down would be none.
  if (pictureKey(letter)) { event.preventDefault(); return; }
  if (event.repeat) return;
  const verdict = KEYS.find(([, digit, name]) => letter === digit || letter === name)?.[0];
  const acts = { u: () => desk.undo(), Backspace: () => desk.undo(), e: () => byId("note").focus(), h: toggleLists, "?": () => openDialog("help") };
  if (!verdict && !Object.hasOwn(acts, letter)) return;
  event.preventDefault();
  if (verdict) decide(verdict);
  else acts[letter]();
}

function wire() {
  for (const [verdict, digit, , sentence] of KEYS) {
    const button = document.querySelector(`[data-verdict=${verdict}]`);
    button.append(el("kbd", { "aria-hidden": "true" }, digit));
    button.setAttribute("aria-keyshortcuts", digit);
    button.title = sentence;
    button.addEventListener("click", () => decide(verdict));
  }
  const line = (keys, words) => el("div", {}, el("dt", {}, ...keys.flatMap((one) => [el("kbd", {}, one), " "])), el("dd", {}, words));
  byId("keys").replaceChildren(...KEYS.map(([, digit, name, words]) => line([digit, name.toUpperCase()], words)), ...MORE.map(([keys, words]) => line(keys.split(" "), words)));
  byId("keys-on").checked = memory.get("keys") !== "off";
  byId("keys-on").addEventListener("change", (event) => memory.set("keys", event.target.checked ? "on" : "off"));
  byId("back").addEventListener("click", () => desk.back());
  byId("undo").addEventListener("click", () => desk.undo());
  byId("note").addEventListener("input", ({ target }) => { target.style.height = "auto"; target.style.height = `${target.scrollHeight + 2}px`; });
  byId("help-button").addEventListener("click", () => openDialog("help"));
  byId("saved").addEventListener("click", () => { listWaiting(); openDialog("saved-dialog"); });
  byId("retry").addEventListener("click", () => outbox.hurry());
  byId("who").addEventListener("click", askName);
  byId("change-who").addEventListener("click", () => { byId("saved-dialog").close(); askName(); });
  byId("name-form").addEventListener("submit", named);
  byId("name-cancel").addEventListener("click", () => byId("name-dialog").close());
  byId("name-dialog").addEventListener("cancel", (event) => { if (!session.reviewer) event.preventDefault(); });
  for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
  document.addEventListener("keydown", keyboard);
  outbox.addEventListener("change", showSaved);
  outbox.addEventListener("delivered", () => refreshLists(desk.task?.row ?? null));
  window.addEventListener("online", () => { outbox.hurry(); desk.fill(); });
  window.addEventListener("reviewer", () => { desk.clear(); begin(); });
  window.addEventListener("beforeunload", (event) => { if (outbox.unsent()) event.preventDefault(); });
  setInterval(() => { if (!document.hidden && session.reviewer) call("/api/progress").then(showProgress, () => {}); }, 10_000);
  prepareChooser();
  prepareLists((entry, list) => desk.open(entry, list), () => outbox.waiting().filter((item) => !item.refused && item.reviewer === session.reviewer).reverse());
  colours();
}

async function start() {
  try {
    await resume();
  } catch (error) {
    paintRest(error.locked ? "locked" : error instanceof Away ? "away" : "fault", { sentence: error.message, retry: () => location.reload() });
    setTimeout(start, 2_000);
    return;
  }
  byId("title").textContent = short(session.title, 120);
  showProgress({});
  call("/api/progress").then(showProgress, () => {});
  outbox.load();
  if (session.reviewer) begin();
  else askName();
}

wire();
start();
