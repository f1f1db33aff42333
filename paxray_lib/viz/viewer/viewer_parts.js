// Parts of the LabelViewer's page: its HTML, helpers, the images that arrived, the label tree, the camera. Joined with viewer_pixels.js and viewer.js.

const MODES = { target: "Ground truth", prediction: "Prediction", both: "Both", difference: "Difference" };
const HINT = "Point at the image to read its labels. Click: select the smallest label there (Shift: only it). " +
  "Wheel: zoom. Drag: pan. Double click: whole image. Keys: / search, + and − zoom, 0 whole image, n and p next and previous.";
const MODULE = Math.random().toString(36).slice(2); // each viewer of a notebook may load this module anew
const MAX_SCALE = 64, KEPT_SCENES = 256;

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
const TEMPLATE = `
<div class="paxray-browse" data-testid="browse" hidden>
  <button data-testid="previous" title="Previous image (p)" aria-label="Previous image">‹</button>
  <button data-testid="next" title="Next image (n)" aria-label="Next image">›</button>
  <select data-testid="jump" aria-label="Image"></select>
  <span data-testid="place"></span>
  <label>View <select data-testid="view"><option value="">all</option><option>frontal</option><option>lateral</option></select></label>
  <label data-testid="sort-label">Sort <select data-testid="sort"><option value="">file order</option></select></label>
</div>
<div class="paxray-main">
  <div class="paxray-left">
    <div class="paxray-stage" data-testid="stage" tabindex="0" role="application" aria-label="Image with labels">
      <canvas data-testid="canvas"></canvas>
      <div class="paxray-zoom">
        <output data-testid="zoom"></output>
        <button data-testid="zoom-out" aria-label="Zoom out" title="Zoom out (−)">−</button>
        <button data-testid="zoom-in" aria-label="Zoom in" title="Zoom in (+)">+</button>
        <button data-testid="zoom-reset" title="Whole image (0)">Fit</button>
      </div>
      <div class="paxray-legend" hidden></div>
      <div class="paxray-message" data-testid="message" role="status" hidden></div>
    </div>
    <div class="paxray-read" data-testid="readout"></div>
    <div class="paxray-tools">
      <span class="paxray-modes" role="radiogroup" aria-label="What is drawn"></span>
      <button data-testid="export" title="Save what is seen, one pixel for each pixel of the image">Save PNG</button>
      <span class="paxray-group">
        <label>Fill <input type="range" min="0" max="255" data-testid="opacity" aria-label="Opacity of the fill"><output></output></label>
        <label>Outline <select data-testid="outline" aria-label="Width of the outlines"></select></label>
        <label><input type="checkbox" data-testid="dashed">dashed</label>
      </span>
      <span class="paxray-group">
        <label>Level <input type="range" min="0" max="255" data-testid="level" aria-label="Level of the image"><output></output></label>
        <label>Window <input type="range" min="1" max="255" data-testid="window" aria-label="Window of the image"><output></output></label>
      </span>
    </div>
  </div>
  <div class="paxray-side">
    <div class="paxray-row1">
      <input type="search" data-testid="search" placeholder="Search labels and groups" aria-label="Search labels and groups">
      <label><input type="checkbox" data-testid="present">present only</label>
    </div>
    <div class="paxray-row2">
      <button data-testid="all" title="Add every label that is listed">All</button>
      <button data-testid="none" title="Deselect everything">None</button>
      <button data-testid="copy" title="Copy the selection as a list for visualize_certain_labels">Copy as Python</button>
      <span data-testid="count" aria-live="polite"></span>
    </div>
    <div class="paxray-head"><span data-testid="mean"></span><span></span><span></span></div>
    <div class="paxray-tree" data-testid="tree" role="tree" tabindex="0" aria-multiselectable="true" aria-label="Labels"></div>
    <textarea class="paxray-copied" data-testid="copied" tabindex="-1" aria-hidden="true" readonly></textarea>
  </div>
</div>`;

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

/** Text as the search compares it: search_labels in selection.py has the same rule. */
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

/** The label tree: groups and labels as rows, with search and keyboard. */
class Tree {
  constructor(root, labels, handlers) {
    this.root = root;
    this.labels = labels;
    this.handlers = handlers;
    this.word = "";
    this.presentOnly = false;
    this.open = new Set(labels.groupNames.filter(group => labels.members[group].length <= 12));
    this.rows = [];
    for (const group of labels.groupNames) this.addGroup(group);
    this.empty = element("div", "paxray-none", "No label fits.");
    root.append(this.empty);
    this.active = null;
    root.addEventListener("click", event => this.click(event));
    root.addEventListener("keydown", event => this.key(event));
  }

  addGroup(group) {
    const { labels } = this, members = labels.members[group], single = members.length === 1;
    if (!single) {
      const node = element("div", "paxray-row branch", undefined, { role: "treeitem", "aria-level": 1, "data-testid": `group-${group}` });
      const name = element("span", "paxray-name");
      const arrow = element("span", "paxray-arrow", "", { "data-testid": `expand-${group}` });
      name.append(arrow, element("span", "paxray-box"), element("span", "paxray-text", `${group.replace("_", " ")} (${members.length})`));
      node.append(name, element("b"), element("b"));
      this.add({ node, group, arrow, members });
    }
    const depths = members.map(index => labels.depth[index]), least = Math.min(...depths);
    members.forEach((index, k) => this.addLabel(index, group, single ? 0 : depths[k] - least + 1));
  }

  addLabel(index, group, depth) {
    const { names, texts, colors, ofName } = this.labels, id = this.labels.ids[index];
    const title = ofName.get(names[index]).length > 1 ? sharedName(this.labels, names[index]) : texts[index];
    const node = element("div", "paxray-row", undefined,
      { role: "treeitem", "aria-level": depth + 1, "data-testid": `label-${id}`, title });
    const name = element("span", "paxray-name"), indent = element("span");
    indent.style.cssText = `flex: none; width: ${depth ? 16 + 10 * depth : 16}px`;
    name.append(indent, element("span", "paxray-box"), square(colors[index]), element("span", "paxray-text", texts[index]));
    const only = element("button", "paxray-only", "only", { tabindex: -1, "data-testid": `only-${id}`, title: "Only this (Enter)" });
    const numbers = [element("b"), element("b")];
    node.append(name, ...numbers, only);
    this.add({ node, group, index, only, numbers, depth });
  }

  add(row) {
    row.node.id = `paxray-${MODULE}-${Tree.count = (Tree.count ?? 0) + 1}`;
    this.rows.push(row);
    this.root.append(row.node);
  }

  /** The labels that search and filter leave, whether their group is open or not. */
  listed() { return this.rows.filter(row => row.index !== undefined && row.fits).map(row => row.index); }

  filter(present) {
    const { names } = this.labels, words = asSearched(this.word).split(/\s+/).filter(Boolean);
    for (const row of this.rows)
      if (row.index !== undefined) {
        const text = asSearched(`${names[row.index]} ${row.group}`);
        row.fits = words.every(word => text.includes(word)) && (!this.presentOnly || present[row.index]);
        row.node.classList.toggle("absent", !present[row.index]);
      }
    const fitting = new Set(this.rows.filter(row => row.fits && row.index !== undefined).map(row => row.group));
    for (const row of this.rows) {
      const open = words.length > 0 || this.open.has(row.group);
      if (row.arrow) {
        row.fits = fitting.has(row.group);
        row.arrow.textContent = open ? "▾" : "▸";
        row.node.setAttribute("aria-expanded", open);
      }
      row.shown = row.fits && (open || row.arrow !== undefined || this.labels.members[row.group].length === 1);
      row.node.hidden = !row.shown;
    }
    this.empty.hidden = fitting.size > 0;
    if (!this.active?.shown) this.activate(this.rows.find(row => row.shown));
  }

  mark(chosen) {
    for (const row of this.rows) {
      let state = "false";
      if (row.index !== undefined) state = String(chosen.has(row.index));
      else {
        const count = row.members.filter(index => chosen.has(index)).length;
        state = count === row.members.length ? "true" : count ? "mixed" : "false";
      }
      if (row.state !== state) row.node.setAttribute("aria-checked", row.state = state);
    }
  }

  activate(row, scroll = false) {
    this.active?.node.classList.remove("active");
    this.active = row ?? null;
    row?.node.classList.add("active");
    if (row) this.root.setAttribute("aria-activedescendant", row.node.id);
    if (row && scroll) this.reveal(row.node);
  }

  reveal(node) { // scrollIntoView would scroll the notebook too
    const top = node.offsetTop - this.root.offsetTop;
    if (top < this.root.scrollTop) this.root.scrollTop = top;
    else if (top + node.offsetHeight > this.root.scrollTop + this.root.clientHeight)
      this.root.scrollTop = top + node.offsetHeight - this.root.clientHeight;
  }

  /** Open the group of a label and bring its row into sight. */
  show(index) {
    const row = this.rows.find(other => other.index === index);
    if (!row.fits) return;
    this.open.add(row.group);
    this.handlers.refilter();
    this.activate(row, true);
  }

  expand(row, open) {
    if (open) this.open.add(row.group); else this.open.delete(row.group);
    this.handlers.refilter();
  }

  use(row) {
    if (row.index !== undefined) this.handlers.toggle([row.index], row.state !== "true");
    else this.handlers.toggle(row.members.filter(index => this.fits(index)), row.state !== "true");
  }

  fits(index) { return this.rows.find(row => row.index === index).fits; }

  only(row) { this.handlers.only(row.index === undefined ? row.members : [row.index]); }

  click(event) {
    const row = this.rows.find(other => other.node.contains(event.target));
    if (!row) return;
    this.activate(row);
    if (row.arrow?.contains(event.target)) this.expand(row, !this.open.has(row.group));
    else if (row.only?.contains(event.target)) this.only(row);
    else this.use(row);
  }

  key(event) {
    const shown = this.rows.filter(row => row.shown), place = shown.indexOf(this.active), row = this.active;
    const go = to => this.activate(shown[Math.max(0, Math.min(shown.length - 1, to))], true);
    const page = Math.max(1, Math.floor(this.root.clientHeight / 21) - 1);
    const actions = {
      ArrowDown: () => go(place + 1), ArrowUp: () => go(place - 1), Home: () => go(0), End: () => go(shown.length - 1),
      PageDown: () => go(place + page), PageUp: () => go(place - page), " ": () => this.use(row), Enter: () => this.only(row),
      ArrowRight: () => row.arrow && !this.open.has(row.group) ? this.expand(row, true) : go(place + 1),
      ArrowLeft: () => row.arrow ? this.expand(row, false) : go(shown.findIndex(other => other.group === row.group)),
    };
    if (!row || !(event.key in actions) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[event.key]();
  }

  /** Write the two number columns: scores with a prediction, else the area. */
  numbers(texts, kind) {
    for (const row of this.rows)
      if (row.index !== undefined) {
        const found = texts[row.index], id = this.labels.ids[row.index];
        row.numbers.forEach((cell, k) => {
          if (cell.textContent !== found[k]) cell.textContent = found[k];
          cell.dataset.testid = `${kind[k]}-${id}`;
        });
      }
  }
}

/** Zoom and pan of the canvas on the stage; sizes in CSS pixels. */
class Camera {
  constructor(stage, canvas, changed) {
    Object.assign(this, { stage, canvas, changed, scale: 1, x: 0, y: 0, fitted: true });
    new ResizeObserver(() => this.apply()).observe(stage);
  }

  get fit() { return Math.min(this.stage.clientWidth / this.canvas.width, this.stage.clientHeight / this.canvas.height) || 1; }

  reset() { this.fitted = true; this.apply(); }

  zoom(factor, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const scale = Math.min(MAX_SCALE, this.scale * factor);
    this.fitted = scale <= this.fit;
    this.x = x - (x - this.x) * scale / this.scale;
    this.y = y - (y - this.y) * scale / this.scale;
    this.scale = scale;
    this.apply();
  }

  pan(dx, dy) { this.x += dx; this.y += dy; this.apply(); }

  apply() {
    const { stage, canvas } = this, width = stage.clientWidth, height = stage.clientHeight;
    if (!width || !canvas.width) return; // not laid out yet, or no image
    if (this.fitted || this.scale < this.fit) this.scale = this.fit;
    const hold = (at, size, room) => size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, at));
    this.x = hold(this.x, canvas.width * this.scale, width);
    this.y = hold(this.y, canvas.height * this.scale, height);
    canvas.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    canvas.style.imageRendering = this.scale >= 2 ? "pixelated" : "auto";
    stage.classList.toggle("zoomed", !this.fitted);
    this.changed();
  }

  /** The pixel at a point of the stage, or null. */
  pixel(x, y) {
    const column = Math.floor((x - this.x) / this.scale), row = Math.floor((y - this.y) / this.scale);
    const inside = column >= 0 && row >= 0 && column < this.canvas.width && row < this.canvas.height;
    return inside ? [column, row] : null;
  }

  /** [top, left, height, width] of the pixels that are seen, empty for all. */
  visible() {
    const { canvas, stage, scale } = this;
    const span = (at, room, size) => [Math.max(0, Math.floor(-at / scale + 1e-6)), Math.min(size, Math.ceil((room - at) / scale - 1e-6))];
    const [left, right] = span(this.x, stage.clientWidth, canvas.width);
    const [top, bottom] = span(this.y, stage.clientHeight, canvas.height);
    const all = this.fitted || (right - left === canvas.width && bottom - top === canvas.height);
    return all ? [] : [top, left, bottom - top, right - left];
  }
}
