// A picture to judge: zoom, pan, brightness, contrast, boxes and masks that can be laid over it.

import { imageAddress } from "./api.js";
import { byId, el, short, theirs } from "./dom.js";

const TINY = 100; // pixels; smaller pictures are drawn as the squares they are
const light = { brightness: 100, contrast: 100 };
const hidden = new Set(); // labels of overlays that the reviewer switched off, for all rows
let view = null; // the picture on the page

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const canonical = (label) => (label === null || label === undefined || label === "" ? "box" : String(label));

/** Start loading a row's pictures before the row is shown; the elements are kept, and shown as they are. */
export function preload(row, content) {
  const names = [content?.name, ...(content?.masks ?? []).map(maskName)].filter(Boolean);
  return new Map(names.map((name) => [name, picture(row, name)]));
}

function picture(row, name) {
  const made = new Image();
  made.decoding = "async";
  made.draggable = false;
  made.src = imageAddress(row, name);
  made.decode().catch(() => {});
  return made;
}

const maskName = (mask) => mask["url-name"] ?? mask.url ?? mask.name;

/** The picture, its overlays and its controls. `loaded` comes from `preload`. */
export function imageView(row, content, loaded) {
  const image = loaded.get(content.name) ?? picture(row, content.name);
  image.alt = short(content.alt || `Picture of row ${row}`, 300);
  const size = { width: content.width || image.naturalWidth || 1, height: content.height || image.naturalHeight || 1 };
  const layer = el("div.layer", {}, image);
  const stage = el("div.stage", {
    tabindex: "0", role: "group", "aria-label": "Picture. Plus and minus zoom, arrows move, 0 fits, square brackets change the brightness.",
  }, layer);
  const labels = new Map(); // label -> its overlays
  const kindOf = (label) => labels.get(label) ?? labels.set(label, { at: labels.size, n: 0, nodes: [] }).get(label);
  const boxes = (content.boxes ?? []).map((box) => {
    const kind = kindOf(canonical(box.label));
    kind.n += 1;
    const top = box.ymin < 0.04 * size.height ? ".inside" : "";
    const tag = box.label && content.boxes.length <= 60 ? el(`span.tag${top}`, {}, short(box.label, 24)) : null;
    const node = el(`div.box.c${kind.at % 6}`, {}, tag);
    node.style.left = `${100 * box.xmin / size.width}%`;
    node.style.top = `${100 * box.ymin / size.height}%`;
    node.style.width = `${100 * (box.xmax - box.xmin) / size.width}%`;
    node.style.height = `${100 * (box.ymax - box.ymin) / size.height}%`;
    kind.nodes.push(node);
    layer.append(node);
    return { ...box, node };
  });
  for (const mask of content.masks ?? []) {
    const kind = kindOf(canonical(mask.label ?? mask.name));
    kind.n += 1;
    const canvas = el("canvas.mask", { "aria-hidden": "true" });
    const source = loaded.get(maskName(mask)) ?? picture(row, maskName(mask));
    source.decode().then(() => tint(canvas, source, kind.at % 6), () => {});
    kind.nodes.push(canvas);
    layer.append(canvas);
  }
  const made = { stage, layer, image, size, scale: 1, fit: 1, x: 0, y: 0, labels, long: content.kind === "document" };
  pointers(made);
  if (!content.width) image.addEventListener("load", () => { [size.width, size.height] = [image.naturalWidth, image.naturalHeight]; fit(made); });
  image.addEventListener("error", () => stage.append(el("p.missing", {}, content.alt || "The picture cannot be shown.")));
  new ResizeObserver(() => { if (stage.clientWidth !== made.width) fit(made); }).observe(stage);
  view = made;
  const whole = el("div.picture", {}, stage, controls(made), toggles(made));
  return { whole, boxes, made };
}

/** Lay a mask over the picture in the colour of its label; what is not zero is in the mask. */
function tint(canvas, source, colour) {
  [canvas.width, canvas.height] = [source.naturalWidth, source.naturalHeight];
  const paper = canvas.getContext("2d", { willReadFrequently: true });
  paper.drawImage(source, 0, 0);
  const pixels = paper.getImageData(0, 0, canvas.width, canvas.height);
  const value = getComputedStyle(document.documentElement).getPropertyValue(`--m${colour + 1}`).trim();
  const rgb = [1, 3, 5].map((at) => parseInt(value.slice(at, at + 2), 16));
  const { data } = pixels;
  for (let at = 0; at < data.length; at += 4) {
    const inside = data[at + 3] > 0 && (data[at] > 0 || data[at + 1] > 0 || data[at + 2] > 0);
    [data[at], data[at + 1], data[at + 2], data[at + 3]] = [...rgb, inside ? 120 : 0];
  }
  paper.putImageData(pixels, 0, 0);
}

function fit(made) {
  const { stage, size, long } = made;
  made.width = stage.clientWidth;
  if (!made.width) return;
  const tall = clamp(window.innerHeight * (window.innerWidth < 700 ? 0.42 : 0.62), 180, 900);
  // A document is read: as wide as there is room, however long.
  const room = long ? made.width / size.width : Math.min(made.width / size.width, tall / size.height);
  const tiny = Math.max(size.width, size.height) <= TINY;
  // A tiny picture grows by whole steps, so that all its squares are equal, and no larger than a hand.
  made.fit = tiny ? Math.max(1, Math.floor(Math.min(room, 240 / Math.max(size.width, size.height)))) : Math.min(room, 2);
  stage.style.height = `${Math.round(Math.min(long ? Infinity : tall, size.height * made.fit))}px`;
  made.image.classList.toggle("crisp", tiny);
  made.scale = made.fit;
  [made.x, made.y] = [0, 0];
  place(made);
}

function place(made) {
  const { stage, layer, size, scale } = made;
  const [wide, tall] = [size.width * scale, size.height * scale];
  const free = [stage.clientWidth - wide, stage.clientHeight - tall];
  made.x = free[0] >= 0 ? free[0] / 2 : clamp(made.x, free[0], 0);
  made.y = free[1] >= 0 ? free[1] / 2 : clamp(made.y, free[1], 0);
  layer.style.width = `${wide}px`;
  layer.style.height = `${tall}px`;
  layer.style.transform = `translate(${made.x}px, ${made.y}px)`;
  if (scale >= 3) made.image.classList.add("crisp");
  made.image.style.filter = light.brightness === 100 && light.contrast === 100 ? "" : `brightness(${light.brightness}%) contrast(${light.contrast}%)`;
  stage.classList.toggle("zoomed", scale > made.fit * 1.001);
  if (made.shown) made.shown.textContent = `${Math.round(100 * scale / made.fit)} %`;
}

/** Zoom by a factor around a point of the stage, its middle by default. */
function zoom(made, factor, x = made.stage.clientWidth / 2, y = made.stage.clientHeight / 2) {
  const scale = clamp(made.scale * factor, made.fit, made.fit * 32);
  made.x = x - (x - made.x) * (scale / made.scale);
  made.y = y - (y - made.y) * (scale / made.scale);
  made.scale = scale;
  place(made);
}

/** Bring a box of the picture into sight. */
export function lookAt(made, box) {
  const { stage, scale } = made;
  if (scale <= made.fit * 1.001) {
    box.node.scrollIntoView({ block: "nearest" });
    return;
  }
  made.x = stage.clientWidth / 2 - scale * (box.xmin + box.xmax) / 2;
  made.y = stage.clientHeight / 2 - scale * (box.ymin + box.ymax) / 2;
  place(made);
}

function pointers(made) {
  const { stage } = made;
  const down = new Map();
  const spot = (event) => { const at = stage.getBoundingClientRect(); return [event.clientX - at.left, event.clientY - at.top]; };
  stage.addEventListener("pointerdown", (event) => { down.set(event.pointerId, spot(event)); stage.setPointerCapture(event.pointerId); });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => down.delete(event.pointerId));
  stage.addEventListener("pointermove", (event) => {
    const before = down.get(event.pointerId);
    if (!before) return;
    const now = spot(event);
    const other = [...down].find(([id]) => id !== event.pointerId)?.[1];
    down.set(event.pointerId, now);
    if (other) {
      const apart = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]) || 1;
      zoom(made, apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    } else {
      made.x += now[0] - before[0];
      made.y += now[1] - before[1];
      place(made);
    }
  });
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(made, Math.exp(-event.deltaY / 200), ...spot(event));
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => (made.scale > made.fit * 1.001 ? fit(made) : zoom(made, 3, ...spot(event))));
  stage.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
    if (!step || made.scale <= made.fit * 1.001) return;
    event.preventDefault();
    made.x += step[0];
    made.y += step[1];
    place(made);
  });
}

function controls(made) {
  made.shown = el("output", { "aria-label": "Zoom" }, "100 %");
  const slider = (name) => el("label", {}, name, el("input", {
    type: "range", min: "20", max: "300", step: "5", value: String(light[name.toLowerCase()]), "data-light": name.toLowerCase(),
    oninput: (event) => { light[name.toLowerCase()] = Number(event.target.value); place(made); },
  }));
  return el("div.controls", {},
    el("div.zoom", {},
      el("button.quiet.icon", { type: "button", "aria-label": "Zoom out", "aria-keyshortcuts": "-", onclick: () => zoom(made, 1 / 1.5) }, "−"),
      made.shown,
      el("button.quiet.icon", { type: "button", "aria-label": "Zoom in", "aria-keyshortcuts": "+", onclick: () => zoom(made, 1.5) }, "+"),
      el("button.quiet", { type: "button", "aria-keyshortcuts": "0", onclick: () => pictureKey("0") }, "Fit")),
    slider("Brightness"), slider("Contrast"));
}

function toggles(made) {
  if (!made.labels.size) return null;
  const show = () => made.labels.forEach((kind, label) => kind.nodes.forEach((node) => { node.hidden = hidden.has(label); }));
  const checks = [...made.labels].map(([label, kind]) => el("label.toggle", {}, el("input", {
    type: "checkbox", checked: !hidden.has(label),
    onchange: (event) => { hidden[event.target.checked ? "delete" : "add"](label); show(); },
  }), el(`i.swatch.c${kind.at % 6}`, { "aria-hidden": "true" }), theirs(label, 32), el("span.n", {}, ` ${kind.n}`)));
  show();
  return el("fieldset.toggles", {}, el("legend.unseen", {}, "Overlays"), ...checks);
}

/** A key for the picture on the page; whether it was one. */
export function pictureKey(key) {
  if (!view?.stage.isConnected) return false;
  const dim = (name, by) => {
    light[name] = clamp(light[name] + by, 20, 300);
    const slider = document.querySelector(`[data-light=${name}]`);
    if (slider) slider.value = light[name];
    place(view);
  };
  const keys = {
    "+": () => zoom(view, 1.5), "=": () => zoom(view, 1.5), "-": () => zoom(view, 1 / 1.5),
    "0": () => { [light.brightness, light.contrast] = [100, 100]; dim("brightness", 0); dim("contrast", 0); fit(view); },
    "[": () => dim("brightness", -15), "]": () => dim("brightness", 15),
    "{": () => dim("contrast", -15), "}": () => dim("contrast", 15),
    v: () => {
      const checks = [...byId("content").querySelectorAll(".toggle input")];
      const on = checks.some((one) => one.checked);
      for (const one of checks) if (one.checked === on) one.click();
    },
  };
  keys[key]?.();
  return key in keys;
}
