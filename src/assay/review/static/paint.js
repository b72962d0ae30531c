// What stands on the page for a task: why it is shown, how doubtful its label is, what others said, the buttons.

import { className, session } from "./api.js";
import { contentSummary, contentView, showContent } from "./content.js";
import { breakable, byId, count, el, percent, short, theirs } from "./dom.js";
import { inWords } from "./outbox.js";

const WHY = {
  flagged: ["Flagged", "A method doubts this label."],
  random: ["Random draw", "Drawn at random, to measure the error rate without bias."],
  second: ["Second look", "Somebody else decided this row; what they said is hidden from you."],
  dispute: ["Dispute", "Two reviewers disagree. Your word settles it."],
  history: ["Decided", "You decided this row before."],
};

const button = (verdict) => document.querySelector(`[data-verdict=${verdict}]`);

/** Verdicts that make sense for a task: without another suggestion there is nothing to prefer to the given label. */
export function allowed(task, verdict) {
  // A server that cannot put a decision in the place of an earlier one shows the earlier one, to look at.
  if (task.why === "history" && !session.changes) return false;
  const [given, suggested] = [className(task.given), className(task.suggested)];
  if (verdict === "suggested" || verdict === "both") return suggested !== null && suggested !== given && (verdict === "suggested" || given !== null);
  return verdict !== "given" || given !== null;
}

export function paint(task, held) {
  for (const [id, on] of [["row", true], ["decision", true], ["rest", false]]) byId(id).hidden = !on;
  byId("row").dataset.row = task.row;
  const [given, suggested] = [className(task.given), className(task.suggested)];
  const named = task.id !== null && task.id !== undefined && String(task.id) !== String(task.row);
  byId("row-title").replaceChildren(`Row ${count(task.row)}`, ...(named ? [el("span.id", {}, " ", theirs(task.id, 60))] : []));
  const [name, sentence] = WHY[task.why] ?? [short(String(task.why ?? "Row"), 30), ""];
  byId("why").replaceChildren(el(`b.chip.${WHY[task.why] ? task.why : "other"}`, {}, name), el("span", {}, sentence));
  byId("doubt").replaceChildren(...doubt(task));
  byId("seen").replaceChildren(...seen(task));
  byId("question").textContent = task.why === "history" ? session.changes ? "A new decision takes the place of yours." : "Undo takes your decisions back, the last one first."
    : allowed(task, "suggested") ? "Which label is right?" : given === null ? "Which label is right?" : "Is the label right?";
  byId("given-name").replaceChildren(...breakable(given === null ? "no label" : short(given, 120)));
  byId("suggested-name").replaceChildren(...breakable(suggested === null ? "" : short(suggested, 120)));
  for (const verdict of ["given", "suggested", "both"]) button(verdict).hidden = task.why !== "history" && !allowed(task, verdict);
  for (const each of document.querySelectorAll("[data-verdict]")) each.disabled = !allowed(task, each.dataset.verdict);
  byId("back").hidden = task.why !== "history";
  for (const id of ["given-name", "suggested-name"]) byId(id).classList.toggle("long", byId(id).textContent.length > 18);
  byId("note").value = task.draft ?? "";
  showContent(contentView(task, held.pictures, held.neighbours));
  window.scrollTo(0, 0);
}

function doubt(task) {
  if (typeof task.p_wrong !== "number" || Number.isNaN(task.p_wrong)) return [];
  const bar = el("i", { "aria-hidden": "true" });
  bar.style.width = `${100 * task.p_wrong}%`;
  const [share, range] = percent(task.p_wrong, task.low ?? null, task.high ?? null);
  return [el("p.doubt", {}, el("span.track", { "aria-hidden": "true" }, bar), el("b", {}, share), " likely wrong", range && el("span.small", {}, ` (${range})`))];
}

/** The verdicts in dispute, or my own earlier one. */
function seen(task) {
  const said = task.why === "history" ? (task.decisions ?? []).slice(-1) : task.seen ?? [];
  if (!said.length) return [];
  const cards = said.map((one) => el("li", {}, el("span.small", {}, task.why === "history" ? "You said" : [theirs(one.reviewer ?? "A reviewer", 40), " said"]),
    el("b", {}, inWords({ ...one, given: task.given, suggested: task.suggested })), one.note && el("q", {}, theirs(one.note, 400))));
  return [el("ul.verdicts", { "aria-label": "What was said" }, ...cards)];
}

/** What a screen reader hears of a row. */
export function spoken(task) {
  const [given, suggested] = [className(task.given), className(task.suggested)];
  const said = [`Row ${count(task.row)}.`, (WHY[task.why] ?? [""])[0], given === null ? "No label." : `Labelled ${short(given)}.`];
  if (allowed(task, "suggested")) said.push(`Perhaps ${short(suggested)}.`);
  if (typeof task.p_wrong === "number") said.push(`${percent(task.p_wrong)[0]} likely wrong.`);
  return [...said, contentSummary(task.content)].filter(Boolean).join(" ");
}

/** Nothing to decide: done, or the server is away. */
export function paintRest(state, details = {}) {
  const focusIn = byId("decision").contains(document.activeElement) || byId("row").contains(document.activeElement);
  for (const [id, on] of [["row", false], ["decision", false], ["rest", true]]) byId(id).hidden = !on;
  const word = (n) => `${count(n)} ${n === 1 ? "decision is" : "decisions are"}`;
  const views = {
    waiting: ["Fetching the next row…", ""],
    away: ["The server is away", details.unsent ? `${word(details.unsent)} kept in this browser and will be sent when it is back.` : "Nothing is lost. The page goes on as soon as it is back."],
    locked: ["Open the address again", "The server was started anew and printed a new address. Open it in this browser; what you decided is kept and will be sent."],
    empty: ["Nothing is left for you", "Every row worth a look has been decided, or is before somebody else. Should one come free, it appears here."],
    fault: ["The review cannot go on", details.sentence ?? ""],
  };
  const [title, sentence] = views[state];
  const parts = [el("h2", {}, title), sentence && el("p", {}, sentence), state === "away" && details.sentence && el("p.small", {}, details.sentence)];
  if (state === "empty") {
    parts.push(el("div.ends", {}, el("a.button", { href: "/api/decisions.csv", download: true }, "Download all decisions (CSV)"),
      el("button.quiet", { type: "button", onclick: details.undo }, "Undo my last decision")));
  }
  if (state === "away") parts.push(el("button.primary", { type: "button", onclick: details.retry }, "Try now"));
  byId("rest").dataset.state = state;
  byId("rest").replaceChildren(...parts.filter(Boolean));
  if (focusIn) byId("rest").focus();
  document.title = `${title} · ${session.title ? short(session.title, 60) : "assay"}`;
}
