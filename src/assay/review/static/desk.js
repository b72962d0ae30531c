// The desk: the row before the reviewer and the next ones, which lie ready with their pictures. A decision goes into
// the outbox and the next row is there at once; nothing on this page waits for the network but an empty desk.

import { Away, Refused, call, className, letGo, resume, session } from "./api.js";
import { byId, count, say, warn } from "./dom.js";
import { preload } from "./image.js";
import { freshKey, inWords } from "./outbox.js";
import { allowed, paint, paintRest, spoken } from "./paint.js";
import { refreshLists } from "./panels.js";
import { showProgress } from "./progress.js";

const AHEAD = 2;
const STALE = 240_000; // a row that has lain ready longer may have been given to somebody else
const IDLE = 5_000;
const TOO_QUICK = 100; // milliseconds; nobody has seen a row so soon, it was a key pressed twice

export class Desk {
  #current = null;
  #ahead = [];
  #past = []; // what was decided in this visit, to show it again at once
  #asking = false;
  #timer = 0;
  #shownAt = 0;
  #away = 0; // milliseconds during which the page was hidden
  #hiddenAt = null;
  #error = null;
  #busy = false;

  constructor(outbox) {
    this.outbox = outbox;
    outbox.addEventListener("delivered", ({ detail: { answer } }) => {
      if (answer.progress) showProgress(answer.progress);
      this.fill();
    });
    outbox.addEventListener("refused", ({ detail: { item, sentence } }) => warn(`Row ${count(item.row)} was not stored: ${sentence}`));
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#hiddenAt = performance.now();
      else if (this.#hiddenAt !== null) [this.#away, this.#hiddenAt] = [this.#away + performance.now() - this.#hiddenAt, null];
    });
    window.addEventListener("pagehide", () => letGo(this.#held().map((task) => task.row)));
    window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  }

  get task() { return this.#current?.task ?? null; }
  #held() { return [this.#current, ...this.#ahead].filter(Boolean).map((one) => one.task).filter((task) => task.why !== "history"); }

  #hold(task) {
    const neighbours = call(`/api/rows/${task.row}/neighbours`).then((found) => found.neighbours ?? found, () => []);
    return { task, at: performance.now(), pictures: preload(task.row, task.content), neighbours };
  }

  /** Keep the next rows ready. */
  async fill() {
    if (this.#asking || !session.reviewer) return;
    clearTimeout(this.#timer);
    this.#asking = true;
    try {
      while (this.#ahead.length < AHEAD) {
        const skip = [...this.#held().map((task) => task.row), ...this.outbox.waiting().map((item) => item.row)];
        const { task, progress } = await call(`/api/next?skip=${[...new Set(skip)].slice(0, 500).join(",")}`);
        this.#error = null;
        if (progress) showProgress(progress);
        if (!task) break;
        if (!this.#held().some((held) => held.row === task.row)) this.#ahead.push(this.#hold(task));
        if (!this.#current) this.#advance();
      }
    } catch (error) {
      this.#error = error;
    }
    this.#asking = false;
    if (!this.#current) this.#rest();
    if (!this.#current || this.#error) this.#timer = setTimeout(() => this.fill(), this.#error instanceof Away ? 2_000 : IDLE);
  }

  #rest() {
    const error = this.#error;
    const state = error?.locked ? "locked" : error instanceof Away ? "away" : error ? "fault" : this.#asking ? "waiting" : "empty";
    if (state === "locked") resume().catch(() => {});
    const details = { unsent: this.outbox.unsent(), sentence: error?.message, undo: () => this.undo(), retry: () => { this.outbox.hurry(); this.fill(); } };
    if (byId("rest").hidden || byId("rest").dataset.state !== state) {
      paintRest(state, details);
      if (state !== "waiting") say(byId("rest").innerText);
    }
  }

  #advance(heard = "") {
    this.#ahead = this.#ahead.filter((one) => performance.now() - one.at < STALE);
    this.#put(this.#ahead.shift() ?? null, heard);
  }

  #put(held, heard = "") {
    this.#current = held;
    if (held) {
      paint(held.task, held);
      [this.#shownAt, this.#away] = [performance.now(), 0];
      document.title = `Row ${count(held.task.row)} · ${session.title}`;
      say([heard, spoken(held.task)].filter(Boolean).join(" Next: "));
    } else {
      say(heard);
      this.#rest();
    }
    refreshLists(held?.task.row ?? null);
  }

  /** Whether the row on the page can be decided so, and has been seen. */
  canDecide(verdict) {
    const { task } = this;
    return task !== null && allowed(task, verdict) && performance.now() - this.#shownAt >= TOO_QUICK;
  }

  /** Decide the row on the page. */
  decide(verdict, label = null) {
    const held = this.#current;
    if (!held || this.#busy || !this.canDecide(verdict)) return false;
    const { task } = held;
    const decision = {
      row: task.row, verdict, label, note: byId("note").value.trim() || null, key: freshKey(),
      seconds: Math.round(performance.now() - this.#shownAt - this.#away) / 1000, role: task.role ?? "first", sampled: task.sampled ?? "flagged",
      replaces: task.replaces ?? null,
      given: className(task.given), suggested: className(task.suggested),
    };
    this.#past.push({ held, decision });
    if (this.#past.length > 200) this.#past.shift();
    const heard = `Decided: ${inWords(decision)}.`;
    byId("last").textContent = `Row ${count(task.row)}: ${inWords(decision)}`;
    this.#current = null;
    this.outbox.put(decision);
    this.#advance(heard);
    this.fill();
    return true;
  }

  /** Take the last decision back, from the outbox when it is still there, else from the server. */
  async undo() {
    if (this.#busy || !session.reviewer) return;
    this.#busy = true;
    try {
      const last = this.#past.at(-1);
      if (last && this.outbox.take(last.decision.key)) {
        this.#again(this.#past.pop());
        return;
      }
      if (last && !(await this.outbox.settled(last.decision.key))) throw new Away("The server is away: the last decision is on its way and can be taken back when it is there.");
      const { task, progress } = await call("/api/undo", {});
      if (progress) showProgress(progress);
      if (!task) { warn("There is nothing to undo."); return; }
      const known = last?.held.task.row === task.row ? this.#past.pop() : null;
      this.#again(known ? { ...known, held: { ...known.held, task: { ...known.held.task, ...task } } } : { held: this.#hold(task), decision: null });
    } catch (error) {
      warn(error.message);
    } finally {
      this.#busy = false;
    }
  }

  #again({ held, decision }) {
    if (decision?.note) held.task.draft = decision.note;
    byId("last").textContent = "";
    this.#aside();
    this.#put({ ...held, at: performance.now() }, "Taken back.");
  }

  /** Lay the row on the page back onto the pile. */
  #aside() {
    if (this.#current && this.#current.task.why !== "history") {
      this.#current.task.draft = byId("note").value;
      this.#ahead.unshift(this.#current);
    }
  }

  /** Open a row of a list: one that I decided, or one that comes. */
  async open(entry, list) {
    const ready = this.#ahead.find((one) => one.task.row === entry.row);
    if (this.task?.row === entry.row) return;
    if (ready) {
      this.#ahead = this.#ahead.filter((one) => one !== ready);
      this.#aside();
      this.#put(ready);
      return;
    }
    if (list === "history" && !entry.event) return warn("This decision is still on its way; Undo takes it back.");
    try {
      const row = await call(`/api/rows/${entry.row}`);
      const why = list === "history" ? "history" : entry.why;
      const role = entry.role ?? row.role ?? { second: "second", dispute: "adjudication" }[why] ?? "first";
      const sampled = entry.sampled ?? row.sampled ?? (why === "random" ? "random" : "flagged");
      const held = this.#hold({ low: null, high: null, ...row, why, role, sampled, replaces: list === "history" ? entry.key : null });
      this.#aside();
      this.#put(held);
      byId("row-title").focus();
    } catch (error) {
      warn(error instanceof Refused || error instanceof Away ? error.message : "This row cannot be opened.");
    }
  }

  /** Leave a row of the list as it is. */
  back() {
    if (this.task?.why === "history") this.#advance();
    byId("row-title").focus();
  }

  /** Another reviewer sits down: what lay ready for the one before goes back. */
  clear() {
    letGo(this.#held().map((task) => task.row));
    [this.#current, this.#ahead, this.#past] = [null, [], []];
    byId("last").textContent = "";
  }
}
