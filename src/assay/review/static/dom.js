// Elements and text. Whatever comes from the data set becomes a text node: nothing here parses markup.

// Characters that draw nothing or reorder their neighbours, as in the reports; joiners only after Latin characters.
const HIDDEN = new RegExp(
  "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f" +
  "\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\\ud800-\\udfff" +
  "\\ufffe\\uffff\\u{e0000}-\\u{e0fff}]|(?<=[\\u0000-\\u024f])[\\u200c\\u200d]", "gu");

/** Text in which everything can be seen. */
export function visible(text) {
  const code = (found) => `⟨U+${found.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
  return text.replaceAll("\r\n", "\n").replace(HIDDEN, code);
}

/** A name on one line, cut where it is too long. */
export function short(text, longest = 80) {
  const letters = Array.from(text.slice(0, 4 * longest));
  const cut = letters.length > longest ? letters.slice(0, longest - 1).join("") + "…" : text;
  return visible(cut.replace(/\s+/g, " ").trim()) || "(blank)";
}

/** An element: "p.note" with attributes, listeners ("onclick") and children; a string becomes a text node. */
export function el(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  const shown = children.flat().filter((child) => child !== null && child !== undefined && child !== false);
  made.append(...shown.map((child) => (child instanceof Node ? child : visible(String(child)))));
  return made;
}

/** An SVG element, for the small drawings. */
export function draw(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export const byId = (id) => document.getElementById(id);
/** A name in pieces that may stand on lines of their own: names of classes have no spaces. */
export function breakable(text) {
  return text.split(/(?<=[_/.\-:])/).flatMap((piece, at) => (at ? [document.createElement("wbr"), piece] : [piece]));
}

/** Someone else's words, apart from ours in direction and in length. */
export const theirs = (text, longest) => el("bdi", {}, ...breakable(short(String(text ?? "–"), longest)));

/** Text for people who hear the page. */
export function say(message) { byId("live").textContent = visible(message); }

let fading = 0;
/** A sentence that everybody must notice; it stays long enough to be read. */
export function warn(message) {
  const toast = byId("toast");
  toast.textContent = visible(message);
  clearTimeout(fading);
  if (message) fading = setTimeout(() => { toast.textContent = ""; }, 4000 + 60 * message.length);
}

const WHOLE = new Intl.NumberFormat("en");
export const count = (value) => WHOLE.format(value);

/** A share as a person reads it, with as many decimals as its interval deserves. */
export function percent(value, low = null, high = null) {
  if (value === null || value === undefined) return ["–", ""];
  if (low === null || high === null) return [`${trim(value)} %`, ""];
  const half = 50 * (high - low);
  const decimals = half > 0 ? Math.min(2, Math.max(0, -Math.floor(Math.log10(half / 2.5)))) : 1;
  const least = 10 ** -decimals;
  const fixed = (share) => (share > 0 && 100 * share < least / 2 ? `< ${least.toFixed(decimals)}` : (100 * share).toFixed(decimals));
  return [`${fixed(value)} %`, `${fixed(low)} to ${fixed(high)}`];
}

function trim(share) {
  const digits = share > 0 && share < 0.001 ? "< 0.1" : share > 0.999 && share < 1 ? "> 99.9" : null;
  return digits ?? (share >= 0.1 ? Math.min(99, Math.round(100 * share)) + (share === 1) : (100 * share).toFixed(1));
}

/** What this browser remembers; a browser that remembers nothing is no reason to fail. */
export const memory = {
  get: (key) => { try { return localStorage.getItem(`assay.${key}`); } catch { return null; } },
  set: (key, value) => { try { localStorage.setItem(`assay.${key}`, value); return true; } catch { return false; } },
  drop: (key) => { try { localStorage.removeItem(`assay.${key}`); } catch { /* nothing was kept */ } },
  keys: () => { try { return Object.keys(localStorage).filter((k) => k.startsWith("assay.")).map((k) => k.slice(6)); } catch { return []; } },
};
