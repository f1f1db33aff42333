// Constants, helpers, and the images that have arrived. TEMPLATE is viewer.html.
//
// Elements of the page bear `data-testid` attributes, for tests and scripts:
//
//     viewer, stage, canvas        the whole, the area of the image, the drawn image
//     message, readout             notices, the labels under the cursor
//     mode-target, mode-prediction, mode-both, mode-difference
//     opacity, outline, dashed     style of the labels
//     level, window                gray values of the image
//     zoom-in, zoom-out, zoom-reset, zoom     buttons, and the scale as text
//     export, copy, copied         PNG of what is seen, selection as Python, the text copied last
//     search, present, all, none   choosing in the tree
//     count                        how many labels are selected
//     tree, group-GROUP, expand-GROUP         the tree, the box of a group, its arrow
//     label-NAME, only-NAME        row of a label (`aria-checked`), its "only this" button;
//                                  a name that occurs again has its index behind it, as in
//                                  label-mediastinum_upper-16
//     iou-NAME, dice-NAME, area-NAME, mean    scores, areas, mean scores of the selection
//     browse, previous, next, jump, view, sort, place     present only with several images
//
// On the viewer, `data-drawn` counts the drawings, `data-draw-ms` is the duration of the last one,
// `data-first-ms` that of the first one of an image from its arrival on, and `data-visible` is the
// trait `visible` at this moment.

const MODES = { target: "Ground truth", prediction: "Prediction", both: "Both", difference: "Difference" };
const HINT = "Point at the image to read its labels. Click: select the smallest label there (Shift: only it). " +
  "Wheel: zoom. Drag: pan. Double click: whole image. Keys: / search, + and − zoom, 0 whole image, n and p next and previous.";
const MODULE = Math.random().toString(36).slice(2); // each viewer of a notebook may load this module anew
const MAX_SCALE = 64, KEPT_SCENES = 256;

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

/** What the views of one model share: the images that have arrived, still compressed. */
class Store {
  constructor(model) {
    this.model = model;
    this.scenes = new Map();
    this.asked = new Set();
    this.listeners = new Set();
    const first = model.get("_first");
    if (first && "index" in first) this.add(first);
    model.on("change:_first", () => this.add(model.get("_first")));
    model.on("msg:custom", (content, buffers) => {
      if (!content.scene) return;
      content.parts.forEach((part, k) => { content.scene[part] = buffers[k]; });
      this.add(content.scene);
    });
  }

  add(scene) {
    this.scenes.set(scene.index, scene);
    this.asked.delete(scene.index);
    if (this.scenes.size > KEPT_SCENES) this.scenes.delete(this.scenes.keys().next().value);
    for (const listener of this.listeners) listener(scene.index);
  }

  need(indices) {
    const missing = indices.filter(index => !this.scenes.has(index) && !this.asked.has(index));
    if (!missing.length) return;
    missing.forEach(index => this.asked.add(index));
    this.model.send({ need: missing });
  }
}
