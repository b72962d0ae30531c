// Calls to the server: JSON both ways, the token of the page in a header, and three ways to fail.

import { memory } from "./dom.js";

/** The server said no, and asking again the same way would not help. */
export class Refused extends Error {
  constructor(sentence, status) { super(sentence); this.status = status; }
}

/** The server cannot be reached, or cannot write: ask again. `locked` when it wants its address opened anew. */
export class Away extends Error {
  constructor(sentence, locked = false) { super(sentence); this.locked = locked; }
}

export const session = { csrf: "", reviewer: null, classes: [], title: "", project: "", n_rows: 0 };
const PATIENCE = 15_000;

async function once(path, body) {
  const asked = { headers: { Accept: "application/json" }, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    asked.method = "POST";
    asked.headers["Content-Type"] = "application/json";
    asked.headers["X-Assay"] = session.csrf;
    asked.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, { ...asked, signal: AbortSignal.timeout(PATIENCE) });
  } catch {
    throw new Away("The server does not answer.");
  }
  const text = await answer.text().catch(() => { throw new Away("The server broke off."); });
  let said = null;
  try { said = JSON.parse(text); } catch { /* an error page of something between us */ }
  if (answer.ok && said !== null) return said;
  const sentence = said?.error ?? `The server answered ${answer.status}.`;
  if (answer.status === 401) throw new Away("The server was started anew: open the address that it printed.", true);
  if (answer.status >= 500 || answer.status === 408 || answer.status === 429 || answer.ok) throw new Away(sentence);
  throw new Refused(sentence, answer.status);
}

/** Ask the server; after a restart the session is taken up again, under the same name.
 *
 * Tabs share the session: what one reviewer decided is never sent in the name of another who signed in since. */
export async function call(path, body) {
  try {
    return await once(path, body);
  } catch (error) {
    if (!(error instanceof Refused && error.status === 403) || path === "/api/session") throw error;
    const name = session.reviewer;
    await resume();
    if (name && session.reviewer !== name) {
      window.dispatchEvent(new Event("reviewer"));
      throw new Away("Somebody else has signed in in this browser.");
    }
    return once(path, body);
  }
}

/** Read the session; a reviewer who had said a name keeps it. */
export async function resume() {
  Object.assign(session, await once("/api/session"));
  const name = memory.get("reviewer");
  if (!session.reviewer && name) Object.assign(session, await once("/api/session", { reviewer: name }));
  return session;
}

export async function introduce(reviewer) {
  Object.assign(session, await call("/api/session", { reviewer }));
  memory.set("reviewer", session.reviewer);
}

/** Give rows back while the page is left: the one call that nobody waits for. */
export function letGo(rows) {
  if (!rows.length) return;
  const headers = { "Content-Type": "application/json", "X-Assay": session.csrf };
  fetch("/api/release", { method: "POST", headers, body: JSON.stringify({ rows }), keepalive: true }).catch(() => {});
}

export const imageAddress = (row, name) => `/api/images/${row}/${encodeURIComponent(name)}`;

/** The name of a class, which the server may send as its place or as its name. */
export function className(value) {
  if (value === null || value === undefined || value === -1) return null;
  return typeof value === "number" ? session.classes[value] ?? String(value) : String(value);
}
