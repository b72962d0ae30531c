// A row as what it is: text, table, picture, document, node of a graph; with its votes, candidates and neighbours.

import { className, imageAddress } from "./api.js";
import { compare } from "./compare.js";
import { byId, count, el, short, theirs, visible } from "./dom.js";
import { imageView, lookAt } from "./image.js";

/** The content of a task as elements. `loaded` are its pictures, `neighbours` a promise of its nearest rows. */
export function contentView(task, loaded, neighbours) {
  const content = task.content ?? {};
  const parts = [];
  // A node may be a text or a picture too.
  if (typeof content.text === "string") parts.push(textView(content, task));
  if (content.fields) parts.push(documentView(task.row, content, loaded));
  else if (content.name) parts.push(imageView(task.row, content, loaded).whole);
  if (content.kind === "node") parts.push(...linked(content, task));
  if (content.candidates?.length) parts.push(candidatesView(task, content.candidates));
  if (content.votes?.length) parts.push(votesView(content.votes, task));
  if (content.columns?.length) parts.push(compare(task, neighbours));
  else if (content.kind !== "node") parts.push(alike(task, neighbours));
  if (!parts.length) parts.push(el("p.empty", {}, "Nothing but its label is known of this row."));
  return parts.filter(Boolean);
}

/** Text with the words that speak for either label; offsets count characters, as Python does. */
function textView(content, task) {
  const letters = Array.from(content.text ?? "");
  const body = el("p.text", { dir: "auto" });
  const spoken = { given: [], suggested: [] };
  let at = 0;
  const marks = [...(content.highlights ?? [])].sort((one, other) => one[0] - other[0]);
  for (const [start, end, which, weight] of marks) {
    if (!(which in spoken) || start < at || end <= start || start >= letters.length) continue;
    body.append(visible(letters.slice(at, start).join("")));
    const word = letters.slice(start, end).join("");
    const strength = 1 + Math.min(2, Math.floor(3 * (weight ?? 1)));
    body.append(el(`mark.${which}.s${strength}`, {}, word));
    spoken[which].push(word);
    at = end;
  }
  body.append(visible(letters.slice(at).join("")));
  const legend = Object.entries(spoken).filter(([, words]) => words.length).map(([which, words]) =>
    el("li", {}, el(`mark.${which}.s3`, { "aria-hidden": "true" }, "word"), " speaks for ", el(`b.${which}`, {}, theirs(className(task[which]))),
      el("span.unseen", {}, `: ${[...new Set(words)].slice(0, 12).map((word) => short(word)).join(", ")}`)));
  return el("div.words-view", {}, letters.length ? body : el("p.empty", {}, "(no text)"), legend.length > 0 && el("ul.legend", { "aria-label": "Highlights" }, ...legend));
}

/** A scanned document: looking at a field shows where it stands. */
function documentView(row, content, loaded) {
  const { whole, boxes, made } = imageView(row, content, loaded);
  whole.classList.add("document");
  const fields = (content.fields ?? []).map(([key, value]) => {
    const places = boxes.filter((box) => sameWords(box.text, value));
    const show = (on) => {
      boxes.forEach((box) => box.node.classList.toggle("lit", on && places.includes(box)));
      if (on && places.length) lookAt(made, places[0]);
    };
    return el("li", {}, el("button.field-button", {
      type: "button", onmouseenter: () => show(true), onmouseleave: () => show(false), onfocus: () => show(true), onblur: () => show(false),
      onclick: () => show(true),
    }, el("span.key", {}, theirs(key, 40)), el("bdi", {}, short(String(value ?? "–"), 400)),
    !places.length && boxes.length > 0 && el("span.small", {}, "not found among the boxes")));
  });
  if (!fields.length) return whole;
  return el("div.side-by-side", {}, whole, el("ul.fields", { "aria-label": "Fields of the document" }, ...fields));
}

/** Whether a box holds part of a field, or the field part of a box; spaces, case and punctuation aside. */
function sameWords(text, value) {
  const bare = (words) => String(words ?? "").toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
  const [box, field] = [bare(text), bare(value)];
  return box.length > 0 && field.length > 0 && (box === field || (box.length > 3 && field.includes(box)) || (field.length > 2 && box.includes(field)));
}

/** Bars of how often each label occurs, the given and the suggested one named. */
function bars(labels, task, title) {
  const counts = new Map();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  const rows = [...counts].sort((one, other) => other[1] - one[1]).slice(0, 12).map(([label, n]) => {
    const bar = el(`i.bar.${role(label, task)}`, { "aria-hidden": "true" });
    bar.style.width = `${100 * n / labels.length}%`;
    return el("li", {}, el("span.of", {}, theirs(label, 40), tag(label, task)), el("span.track", { "aria-hidden": "true" }, bar), el("span.n", {}, count(n)));
  });
  return el("section.block", {}, el("h3", {}, title), el("ul.bars", {}, ...rows));
}

/** Whether a label is the given or the suggested one of the task, as a class of the style sheet. */
function role(label, task) {
  return label !== null && label === className(task.given) ? "given" : label !== null && label === className(task.suggested) ? "suggested" : "third";
}
function tag(label, task) {
  const which = role(label, task);
  return which === "third" ? null : el(`span.mark.${which}`, {}, which);
}

/** A label, and whether it is the given or the suggested one. */
export function named(value, task) {
  const label = className(value);
  return el("span.of", {}, el(`b.${role(label, task)}`, {}, theirs(label ?? "no label", 60)), tag(label, task));
}

/** The nodes that this one is linked to: their labels counted, then each with what is known of it. */
function linked({ neighbours = [], n_neighbours: n = neighbours.length }, task) {
  if (!neighbours.length) return [el("p.empty", {}, "No node is linked to this one.")];
  const title = `Labels of ${n > neighbours.length ? `${count(neighbours.length)} of its` : "its"} ${count(n)} ${n === 1 ? "neighbour" : "neighbours"}`;
  const items = neighbours.map((one) => {
    const said = (one.columns ?? []).slice(0, 4).map(([name, value]) => el("span.pair", {}, el("span.key", {}, theirs(name, 30)), " ", theirs(value, 120)));
    return el("li", {}, el("span.small", {}, `row ${count(one.row)}`), named(one.label, task), ...said);
  });
  const each = el("details.block", { open: neighbours.length <= 8 }, el("summary", {}, "Its neighbours, one by one"), el("ul.linked", {}, ...items));
  return [bars(neighbours.map((one) => className(one.label) ?? "no label"), task, title), each];
}

function votesView(votes, task) {
  const said = votes.map(([worker, label]) => [worker, className(label) ?? "no label"]);
  const whole = bars(said.map(([, label]) => label), task, `${count(votes.length)} ${votes.length === 1 ? "vote" : "votes"}`);
  whole.append(el("details", {}, el("summary", {}, "Who voted for what"),
    el("ul.voters", {}, ...said.slice(0, 200).map(([worker, label]) => el("li", {}, el("span.key", {}, theirs(worker, 40)), " ", theirs(label, 40))))));
  return whole;
}

/** What the critic chose between, side by side. */
function candidatesView(task, candidates) {
  const cards = candidates.slice(0, 12).map((one) => el("li.candidate", {}, el("span.small", {}, theirs(one.name ?? "candidate", 80)), named(one.label, task)));
  return el("section.block", {}, el("h3", {}, "Candidates"), el("ul.candidates", {}, ...cards));
}

/** Pictures or texts nearest to this row, with their labels. */
function alike(task, neighbours) {
  const place = el("section.block", { hidden: true });
  neighbours.then((found) => {
    if (!found.length) return;
    const cards = found.slice(0, 6).map((one) => {
      const { name, text, alt, width } = one.content ?? {};
      const picture = name && el(`img${width <= 100 ? ".crisp" : ""}`, { src: imageAddress(one.row, name), alt: short(alt || `Picture of row ${one.row}`, 200) });
      return el("li", {}, picture, text && el("p.text", { dir: "auto" }, text.length > 240 ? `${text.slice(0, 240)}…` : text),
        el("p", {}, named(one.label, task)), el("p.small", {}, `row ${count(one.row)}`));
    });
    place.append(el("h3", {}, "Nearest rows and their labels"), el(`ul.alike.${cards[0].querySelector("img") ? "pictures" : "texts"}`, {}, ...cards));
    place.hidden = false;
  });
  return place;
}

/** One line for people who hear the page. */
export function contentSummary(content) {
  if (!content) return "";
  if (content.kind === "text") return short(content.text ?? "", 400);
  if (content.alt) return short(content.alt, 200);
  return (content.columns ?? []).slice(0, 5).map(([name, value]) => `${short(String(name), 30)} ${short(String(value), 60)}`).join(", ");
}

export const showContent = (parts) => byId("content").replaceChildren(...parts);
