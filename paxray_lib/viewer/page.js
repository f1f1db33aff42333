// Constants and helpers. TEMPLATE is viewer.html.
//
// Elements of the page bear `data-testid` attributes, for tests and scripts:
//
//     viewer, stage, canvas        the whole, the area of the image, the drawn image
//     message, readout             notices, the labels under the cursor
//     mode-target, mode-prediction, mode-both, mode-beside, mode-difference
//     pane, pane-2, canvas-2, title-target, title-prediction, mark       side by side: the panels, and the pointer in the other one
//     mode-probability, heat, heat-label, threshold, threshold-reset, heat-scores     with probabilities only
//     opacity, outline, dashed     style of the labels
//     level, window, auto, gray-reset         gray values of the image
//     help, hint                   the button "?", and what it shows
//     zoom-in, zoom-out, zoom-reset, zoom     buttons, and the scale as text
//     export, copy, copied         PNG of what is seen, selection as Python, the text copied last
//     search, present, all, none   choosing in the tree
//     count                        how many labels are selected
//     tree, group-GROUP, expand-GROUP         the tree, the box of a group, its arrow
//     label-NAME, only-NAME        row of a label (`aria-checked`), its "only this" button;
//                                  a name that occurs again has its index behind it, as in
//                                  label-mediastinum_upper-16
//     iou-NAME, dice-NAME, area-NAME, mean    scores, areas, mean scores of the selection
//     correct, keys                controls of a viewer that is editable, and what its keys do
//     edit-label, tool-TOOL, brush-size, follow, unknown, rename-to, copy-prediction, undo, redo, kept, save, again, download
//     review, review-VERDICT, note, next-open, progress, review-trouble      of a review
//     browse, previous, next, jump, view, sort, place     present only with several images
//
// On the viewer, `data-drawn` counts the drawings, `data-draw-ms` is the duration of the last one,
// `data-first-ms` that of the first one of an image from its arrival on, and `data-visible` is the
// trait `visible` at this moment.

const MODES = { target: "Ground truth", prediction: "Prediction", both: "Both", beside: "Side by side", difference: "Difference", probability: "Probability" };
const HINT = "Point at the image to read its labels; ? tells what mouse and keys do.";
const HELP = {
  "Point": "read the labels of a pixel, the smallest first", "Click": "select the smallest label there (Shift: only it)",
  "Wheel, + −": "zoom", "Drag, arrow keys": "pan where the image is zoomed", "Double click, 0": "whole image",
  "← →, p n": "previous and next image", "/": "search; ↓ goes on to the tree", "↑ ↓ space Enter": "in the tree: go, toggle, only this",
  "d": "both masks side by side, and back over each other",
  "a, r": "level and window by the image's own grays, and back", "?": "this help; Escape closes it",
};
const TOOLS = {
  point: ["Point", "v", "point, pan and select"], brush: ["Brush", "b", "paint"], eraser: ["Eraser", "e", "erase"],
  polygon: ["Polygon", "g", "add a polygon: click or drag, double click or Enter closes"],
  cut: ["Cut", "x", "erase a polygon: click or drag, double click or Enter closes"],
  fill: ["Fill hole", "f", "click into a hole of the label"], rename: ["Rename", "m", "click on a piece to give it the other label"],
};
const DESK_HELP = {
  ...Object.fromEntries(Object.values(TOOLS).map(([, key, text]) => [key, text])), "[ ]": "smaller and larger brush",
  l: "correct the smallest label under the pointer", z: "undo", y: "redo", t: "wholes and parts follow, or not",
  c: "copy the label from the prediction", k: "mark the label as annotated here, or not", s: "save the masks, where there is a folder for them", Escape: "drop the polygon",
};
const MODULE = Math.random().toString(36).slice(2); // each viewer of a notebook may load this module anew
const MAX_SCALE = 64, KEPT_SCENES = 256, PANEL_GAP = 4; // as in compose.py

function element(tag, className, text, attributes = {}) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** Bytes as a front end hands them over: a DataView, an ArrayBuffer, or base64 text in a page. */
function toBytes(value) {
  if (typeof value === "string") {
    const text = atob(value), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  }
  return value.buffer ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : new Uint8Array(value);
}

function square(color) {
  const made = element("i", "paxray-swatch");
  made.style.background = `rgb(${color})`;
  return made;
}

const areaText = (area, total) => area ? percentOf(area / total) : "–";
const percentOf = part => part < 0.00095 ? "<0.1%" : `${(100 * part).toFixed(part < 0.0995 ? 1 : 0)}%`;
const scoreText = score => Number.isNaN(score) ? "–" : score.toFixed(2);

/** Text as the search compares it: search_labels in picker.py has the same rule. */
const asSearched = text => text.toLowerCase().replaceAll("_", " ");

/** Why a name has indices behind it. */
function sharedName({ ofName }, name) {
  return `Labels ${ofName.get(name).join(" and ")} share the name ${name} and are selected together.`;
}

const sharedNames = labels =>
  [...labels.ofName].filter(([, same]) => same.length > 1).map(([name]) => sharedName(labels, name));

/** Make the viewer as high as its panel, such as a notebook's, or else the window, has room for. */
function fitHeight(root, signal) {
  let panel = null;
  const fit = () => {
    const width = root.clientWidth;
    if (!width) return; // not in the page yet
    panel ??= root.closest(".jp-WindowedPanel-outer, .jp-Notebook, .paxray-panel");
    if (panel) observer.observe(panel);
    const room = (panel ? panel.clientHeight : window.innerHeight) - 16, narrow = width < 520;
    const height = Math.round(Math.max(420, Math.min(room, 0.8 * width + 140, 1100)));
    root.classList.toggle("narrow", narrow);
    root.style.height = narrow ? "" : `${height}px`;
    root.style.setProperty("--px-stage", `${Math.min(width, Math.round(0.6 * room)) + 32}px`);
  };
  const observer = new ResizeObserver(fit);
  observer.observe(root);
  window.addEventListener("resize", fit, { signal });
  signal.addEventListener("abort", () => observer.disconnect());
}

/** Put a box (left, top, right, bottom) of pixels on a canvas. */
function put(context, data, [left, top, right, bottom]) { context.putImageData(data, 0, 0, left, top, right - left, bottom - top); }

/** A picture of a part of what was drawn, panel by panel, with the film's name and a legend below. */
function withLegend(panels, [top, left, height, width], name, entries) {
  const size = Math.max(13, Math.round(width / 64)), line = Math.round(1.4 * size), gap = Math.round(size / 2);
  const canvas = element("canvas"), context = canvas.getContext("2d", { alpha: false });
  const font = `${size}px system-ui, "DejaVu Sans", sans-serif`;
  canvas.width = Math.max(panels.length * (width + PANEL_GAP) - PANEL_GAP, 16 * size); // a film of few pixels has a name, too
  context.font = font;
  const places = [];
  let x = gap, row = 1;
  for (const [text] of entries) {
    const room = 2 * size + gap + context.measureText(text).width;
    if (x > gap && x + room > canvas.width) [x, row] = [gap, row + 1];
    places.push([x, row]);
    x += room;
  }
  canvas.height = height + (row + (entries.length ? 1 : 0)) * line + gap;
  Object.assign(context, { fillStyle: "#fff", font, textBaseline: "middle" });
  context.fillRect(0, 0, canvas.width, canvas.height);
  const write = (text, at, rows) => {
    context.fillStyle = "#202020";
    context.fillText(text, at, height + gap / 2 + (rows + 0.5) * line);
  };
  write(name, gap, 0);
  entries.forEach(([text, color], k) => {
    context.fillStyle = `rgb(${color})`;
    context.fillRect(places[k][0], height + gap / 2 + (places[k][1] + 0.5) * line - size / 2, size, size);
    write(text, places[k][0] + 1.4 * size, places[k][1]);
  });
  panels.forEach((data, k) => context.putImageData(data, k * (width + PANEL_GAP) - left, -top, left, top, width, height));
  return canvas;
}
