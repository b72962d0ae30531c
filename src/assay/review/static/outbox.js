// Decisions on their way. Each is kept in this browser under its own key until the server has it; sending the same
// one twice is storing it once, so nothing is lost and nothing is counted twice, whatever breaks in between.

import { Away, call, className, session } from "./api.js";
import { memory } from "./dom.js";

const PREFIX = "outbox.";
const SENT = ["row", "verdict", "label", "note", "key", "seconds", "role", "sampled", "replaces"];
const LONGEST_PAUSE = 8_000;

export function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Outbox extends EventTarget {
  #items = new Map();
  #pause = 500;
  #timer = 0;
  sending = null;
  error = null;
  kept = true;

  /** Take up what an earlier visit could not send; other projects may have been served at this address. */
  load() {
    for (const name of memory.keys().filter((key) => key.startsWith(PREFIX))) {
      try {
        const item = JSON.parse(memory.get(name));
        if (item?.key && item.project === session.project) this.#items.set(item.key, item);
      } catch { memory.drop(name); }
    }
    this.#changed();
    this.flush();
  }

  waiting() { return [...this.#items.values()].sort((one, other) => one.at - other.at); }
  /** Those that this reviewer's session can send. */
  #ready() { return this.waiting().filter((item) => !item.refused && item.reviewer === session.reviewer); }
  unsent() { return this.waiting().filter((item) => !item.refused).length; }
  refused() { return this.waiting().filter((item) => item.refused); }

  put(decision) {
    const last = this.waiting().at(-1)?.at ?? 0;
    const item = { ...decision, reviewer: session.reviewer, project: session.project, at: Math.max(Date.now(), last + 1) };
    this.#keep(item);
    this.#changed();
    this.flush();
  }

  /** Take a decision back before it is sent; false when it is on its way or gone. */
  take(key) {
    if (!this.#items.has(key) || this.sending === key) return false;
    this.drop(key);
    return true;
  }

  drop(key) {
    this.#items.delete(key);
    memory.drop(PREFIX + key);
    this.#changed();
  }

  #keep(item) {
    this.#items.set(item.key, item);
    this.kept = memory.set(PREFIX + item.key, JSON.stringify(item));
  }

  #changed() { this.dispatchEvent(new Event("change")); }

  /** Try now, without waiting for the next turn. */
  hurry() {
    clearTimeout(this.#timer);
    this.#pause = 500;
    return this.flush();
  }

  /** Resolves once `key` has left, however it left. */
  settled(key) {
    return new Promise((resolve) => {
      const look = () => {
        if (this.#items.has(key) && !this.#items.get(key).refused && !this.error) return;
        this.removeEventListener("change", look);
        resolve(!this.#items.has(key));
      };
      this.addEventListener("change", look);
      look();
    });
  }

  async flush() {
    if (this.sending) return;
    clearTimeout(this.#timer);
    for (let item; (item = this.#ready()[0]); ) {
      this.sending = item.key;
      this.#changed();
      try {
        const body = Object.fromEntries(SENT.filter((name) => item[name] !== null && item[name] !== undefined)
          .map((name) => [name, item[name]]));
        const answer = await call("/api/verdicts", body);
        [this.error, this.#pause] = [null, 500];
        this.#items.delete(item.key);
        memory.drop(PREFIX + item.key);
        this.dispatchEvent(new CustomEvent("delivered", { detail: { item, answer } }));
      } catch (error) {
        if (error instanceof Away) {
          this.error = error;
          this.sending = null;
          this.#timer = setTimeout(() => this.flush(), this.#pause);
          this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
          this.#changed();
          return;
        }
        this.error = null;
        this.#keep({ ...item, refused: error.message });
        this.dispatchEvent(new CustomEvent("refused", { detail: { item, sentence: error.message } }));
      }
      this.sending = null;
      this.#changed();
    }
  }
}

/** "suggested, cat": a decision in words. */
export function inWords(decision) {
  const label = className(decision.label);
  const named = { given: className(decision.given), suggested: className(decision.suggested) }[decision.verdict] ?? label;
  const word = { other: "another", skip: "skipped" }[decision.verdict] ?? decision.verdict;
  return named && decision.verdict !== "skip" ? `${word}, ${named}` : word;
}
