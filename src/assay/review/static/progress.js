// The numbers that are always in sight: how far, how wrong, how much the reviewers agree, and whether to stop.

import { session } from "./api.js";
import { byId, count, draw, el, percent } from "./dom.js";

/** A share and its interval on a line from 0 to a round end: the band is the interval, the mark the share. */
function interval({ rate, low, high }) {
  const end = [0.02, 0.05, 0.1, 0.2, 0.5, 1].find((step) => high <= 0.9 * step) ?? 1;
  const at = (share) => 100 * Math.min(1, Math.max(0, share / end));
  const [left, right] = [at(low), at(high)];
  return draw("svg", { viewBox: "0 0 100 8", class: "interval", "aria-hidden": "true", preserveAspectRatio: "none" },
    draw("rect", { x: 0, y: 3.4, width: 100, height: 1.2, class: "axis" }),
    draw("rect", { x: left, y: 1.5, width: Math.max(1, right - left), height: 5, class: "band" }),
    draw("rect", { x: Math.min(98.8, at(rate) - 0.6), y: 0, width: 1.2, height: 8, class: "mark" }));
}

function fact(name, title, narrow, value, small, drawing = null) {
  return el(`div.fact.${name}`, {},
    el("dt", {}, el("span.wide", {}, title), el("span.narrow", {}, narrow)),
    el("dd.value", {}, value), el("dd.small", {}, small || "\u00a0"), drawing && el("dd.drawing", {}, drawing));
}

let newest = -1;

/** Draw the numbers anew; `progress` is what the server says. Answers may overtake each other: an older one is nothing. */
export function showProgress(progress) {
  if (progress.version < newest) return;
  newest = progress.version ?? newest;
  const { reviewed = 0, rows = session.n_rows, rate, agreement, stop, reviewers = [] } = progress;
  const [share, range] = rate ? percent(rate.rate, rate.low, rate.high) : ["–", ""];
  const [agreed, between] = agreement ? percent(agreement.share, agreement.low, agreement.high) : ["–", ""];
  const others = reviewers.length > 1 ? `by ${reviewers.length} people` : "";
  const kappa = typeof agreement?.kappa === "number" ? `, κ ${agreement.kappa.toFixed(2)}` : "";
  const done = rows ? { rate: reviewed / rows } : null;
  const facts = [
    fact("reviewed", "Reviewed", "Reviewed", [el("b", {}, count(reviewed)), el("span.total", {}, ` of ${count(rows)}`)],
      [others, progress.disputes ? `${count(progress.disputes)} in dispute` : ""].filter(Boolean).join(", "),
      done && draw("svg", { viewBox: "0 0 100 8", class: "interval", "aria-hidden": "true", preserveAspectRatio: "none" },
        draw("rect", { x: 0, y: 3.4, width: 100, height: 1.2, class: "axis" }),
        draw("rect", { x: 0, y: 2, width: Math.min(100, 100 * done.rate), height: 4, class: "done" }))),
    fact("rate", "Labels wrong", "Wrong", el("b", {}, share),
      rate ? `95 % interval ${range}` : "not enough rows drawn at random yet", rate && interval(rate)),
    fact("agreement", "Reviewers agree", "Agree", el("b", {}, agreed),
      agreement ? `${between}, ${count(agreement.pairs)} ${agreement.pairs === 1 ? "pair" : "pairs"}${kappa}`
        : "no row seen by two yet", agreement?.low !== undefined && agreement
        && interval({ rate: agreement.share, low: agreement.low, high: agreement.high })),
    stop && fact(`stop${stop.reached ? ".reached" : ""}`, stop.reached ? "You may stop" : "Go on", stop.reached ? "Stop" : "Go on",
      [sign(stop.reached), el("b", {}, stop.reached ? "Enough" : stop.more_reviews ? count(stop.more_reviews) : "Not yet"),
        stop.more_reviews && !stop.reached ? el("span.total", {}, " more") : ""],
      stop.sentence),
  ];
  byId("facts").replaceChildren(...facts.filter(Boolean));
}

/** An octagon with a tick, or an open ring: the shape says it, not the colour. */
function sign(reached) {
  const shapes = reached
    ? [draw("path", { d: "M6.2 1.5h7.6l4.7 4.7v7.6l-4.7 4.7H6.2l-4.7-4.7V6.2z", class: "solid" }), draw("path", { d: "M6 10.4l2.8 2.8 5.4-6", class: "tick" })]
    : [draw("circle", { cx: 10, cy: 10, r: 7.6, class: "ring" })];
  return draw("svg", { viewBox: "0 0 20 20", class: "sign", "aria-hidden": "true" }, ...shapes);
}
