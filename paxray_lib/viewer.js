// The LabelViewer's page: controls, zoom, browsing. Joined behind viewer_pixels.js into one anywidget module.
//
// All state that Python may read or set lives in the model's traits: a click sets a trait, and the trait's change redraws.
// viewer.py lists the data-testid of every control.

const MODES = { target: "Ground truth", prediction: "Prediction", both: "Both", difference: "Difference" };
const HINT = "Point at the image to read its labels. Click: select the smallest label there (Shift: only it). " +
  "Wheel: zoom. Drag: pan. Double click: whole image. Keys: / search, + and − zoom, 0 whole image, n and p next and previous.";
const MAX_SCALE = 64, KEPT_SCENES = 256;

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
const percentOf = part => part >= 0.0995 ? (100 * part).toFixed(0) + "%" : part >= 0.00095 ? (100 * part).toFixed(1) + "%" : "<0.1%";
const scoreText = score => Number.isNaN(score) ? "–" : score.toFixed(2);

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
    const { names, colors } = this.labels, id = this.labels.ids[index];
    const node = element("div", "paxray-row", undefined,
      { role: "treeitem", "aria-level": depth + 1, "data-testid": `label-${id}`, title: names[index] });
    const name = element("span", "paxray-name"), indent = element("span");
    indent.style.cssText = `flex: none; width: ${depth ? 16 + 10 * depth : 16}px`;
    name.append(indent, element("span", "paxray-box"), square(colors[index]), element("span", "paxray-text", names[index]));
    const only = element("button", "paxray-only", "only", { tabindex: -1, "data-testid": `only-${id}`, title: "Only this (Enter)" });
    const numbers = [element("b"), element("b")];
    node.append(name, ...numbers, only);
    this.add({ node, group, index, only, numbers, depth });
  }

  add(row) {
    row.node.id = `paxray-${Tree.count = (Tree.count ?? 0) + 1}`;
    this.rows.push(row);
    this.root.append(row.node);
  }

  /** The labels that search and filter leave, whether their group is open or not. */
  listed() { return this.rows.filter(row => row.index !== undefined && row.fits).map(row => row.index); }

  filter(present) {
    const { names } = this.labels, words = this.word.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of this.rows)
      if (row.index !== undefined) {
        const text = `${names[row.index]} ${row.group}`.toLowerCase();
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
    if (!width) return; // not laid out yet
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

class Viewer {
  constructor(model, store, el, offline) {
    Object.assign(this, { model, store, offline, scene: null, wanted: null, drawn: null, draws: 0, stop: new AbortController() });
    this.root = element("div", "paxray", undefined, { "data-testid": "viewer", "data-lm-suppress-shortcuts": "true", "data-drawn": 0 });
    this.root.innerHTML = TEMPLATE;
    el.append(this.root);
    this.labels = this.readLabels(model.get("_labels"));
    this.items = model.get("_items");
    this.canvas = this.find("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.camera = new Camera(this.find("stage"), this.canvas, () => this.moved());
    this.tree = new Tree(this.find("tree"), this.labels, {
      toggle: (indices, on) => this.toggle(indices, on), only: indices => this.choose(indices), refilter: () => this.refilter(),
    });
    this.buildControls();
    this.buildBrowse();
    this.connect();
    this.readStyle();
    this.readout(null);
    this.go();
  }

  find(id) { return this.root.querySelector(`[data-testid="${id}"]`); }

  readLabels({ names, groups, colors, tree }) {
    const labels = { names, colors, groupNames: [...new Set(groups)], members: {}, depth: {}, ids: [], ofName: new Map() };
    for (const group of labels.groupNames) labels.members[group] = [];
    for (const [index, depth] of tree) {
      labels.members[groups[index]].push(index);
      labels.depth[index] = depth;
    }
    names.forEach((name, index) => {
      const same = labels.ofName.get(name) ?? [];
      labels.ids.push(same.length ? `${name}-${index}` : name);
      labels.ofName.set(name, [...same, index]);
    });
    return labels;
  }

  // -- choosing

  get selected() { return this.model.get("selected"); }

  indices() { return new Set(this.selected.flatMap(name => this.labels.ofName.get(name) ?? [])); }

  set(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  choose(indices) {
    const wanted = new Set([...indices].map(index => this.labels.names[index]));
    this.set("selected", [...this.labels.ofName.keys()].filter(name => wanted.has(name)));
  }

  toggle(indices, on) {
    const chosen = this.indices();
    for (const index of indices)
      for (const same of this.labels.ofName.get(this.labels.names[index])) if (on) chosen.add(same); else chosen.delete(same);
    this.choose(chosen);
  }

  /** The selection as a Python list; a label whose group has its name becomes a pattern, since the name means the group. */
  python() {
    const { members } = this.labels;
    const quote = name => JSON.stringify(members[name]?.length > 1 ? name.replace(/.$/, "[$&]") : name);
    return `[${this.selected.map(quote).join(", ")}]`;
  }

  async copy() {
    const box = this.find("copied"), button = this.find("copy");
    box.value = this.python();
    box.select();
    document.execCommand("copy"); // works without a permission; the newer interface needs one in frames
    button.focus();
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy as Python"; }, 1200);
  }

  // -- drawing

  style() {
    const { model } = this;
    return { mode: model.get("mode"), alpha: model.get("alpha"), outline: model.get("outline"), dashed: model.get("dashed"), window: model.get("window") };
  }

  /** Draw again what differs from what was drawn: the boxes of the toggled labels, or all. */
  draw() {
    if (!this.scene) return;
    const start = performance.now(), chosen = this.indices(), style = this.style(), key = JSON.stringify(style);
    const { width, height } = this.scene.meta;
    let box = [0, 0, width, height];
    if (this.drawn?.scene === this.scene && this.drawn.key === key) {
      const before = this.drawn.chosen;
      box = this.scene.boxOf([...chosen].filter(i => !before.has(i)).concat([...before].filter(i => !chosen.has(i))));
    }
    if (box) {
      this.scene.draw(chosen, style, box);
      this.context.putImageData(this.scene.data, 0, 0, box[0], box[1], box[2] - box[0], box[3] - box[1]);
    }
    this.drawn = { scene: this.scene, key, chosen };
    this.root.dataset.drawMs = (performance.now() - start).toFixed(2);
    this.root.dataset.drawn = ++this.draws;
  }

  update() {
    this.draw();
    const chosen = this.indices();
    this.tree.mark(chosen);
    this.find("count").textContent = `${chosen.size} of ${this.labels.names.length} selected`;
    this.updateMean(chosen);
  }

  updateMean(chosen) {
    const pair = this.scene?.pair, mean = this.find("mean"), cells = [...mean.parentNode.children].slice(1);
    if (!pair) {
      mean.textContent = "label";
      [cells[0].textContent, cells[1].textContent] = ["", "area"];
      return;
    }
    const scores = [...chosen].map(i => pair.scores(i)).filter(([iou]) => !Number.isNaN(iou));
    const average = k => scores.length ? (scores.reduce((sum, score) => sum + score[k], 0) / scores.length).toFixed(2) : "–";
    mean.textContent = `selected: mean IoU ${average(0)}, Dice ${average(1)}`;
    [cells[0].textContent, cells[1].textContent] = ["IoU", "Dice"];
  }

  /** Fill in what depends on the image alone. */
  updateScene() {
    const { scene, labels } = this, total = scene.meta.width * scene.meta.height, { pair } = scene;
    const texts = labels.names.map((_, i) => {
      if (pair) return pair.scores(i).map(scoreText);
      const stack = scene.target ?? scene.prediction;
      return ["", stack ? areaText(stack.area[i], total) : ""];
    });
    this.tree.numbers(texts, pair ? ["iou", "dice"] : ["unused", "area"]);
    this.update();
  }

  refilter() {
    const stacks = [this.scene?.target, this.scene?.prediction].filter(Boolean);
    const present = this.labels.names.map((_, i) => stacks.some(stack => stack.area[i]));
    this.tree.filter(present);
    const filtered = this.tree.word.trim() || this.tree.presentOnly;
    this.find("all").textContent = filtered ? `All ${this.tree.listed().length} listed` : "All";
  }

  updateModes() {
    const mode = this.scene ? this.scene.mode(this.model.get("mode")) : this.model.get("mode");
    for (const name of Object.keys(MODES)) {
      const button = this.find(`mode-${name}`);
      button.disabled = Boolean(this.scene) && !this.scene.modes.includes(name);
      button.setAttribute("aria-checked", name === mode);
      button.tabIndex = name === mode ? 0 : -1;
    }
    const legend = this.root.querySelector(".paxray-legend");
    legend.hidden = mode !== "difference" && mode !== "both";
    const kinds = [[TRUE_POSITIVE, "true positive"], [FALSE_POSITIVE, "false positive"], [FALSE_NEGATIVE, "false negative"]];
    legend.replaceChildren(...(mode === "both" ? [element("span", "", "fill: ground truth, outline: prediction")]
      : kinds.map(([color, text]) => { const part = element("span"); part.append(square(color), text); return part; })));
  }

  // -- reading

  labelsAt([column, row]) {
    const { target, prediction, meta } = this.scene, i = row * meta.width + column, mode = this.scene.mode(this.model.get("mode"));
    const used = mode === "target" ? [target] : mode === "prediction" ? [prediction] : [target, prediction];
    const stacks = used.filter(Boolean);
    const found = new Set(stacks.flatMap(stack => stack.sets.list(stack.ids[i])));
    const area = label => Math.max(...stacks.map(stack => stack.area[label]));
    const verdict = label => {
      if (stacks.length < 2) return "";
      const [a, b] = stacks.map(stack => stack.sets.has(stack.ids[i], label));
      return a && b ? "in both" : a ? "missed" : "extra";
    };
    return [...found].map(label => ({ label, area: area(label), verdict: verdict(label) })).sort((a, b) => a.area - b.area || a.label - b.label);
  }

  readout(pixel) {
    const box = this.find("readout");
    if (!pixel || !this.scene) {
      box.replaceChildren(element("p", "", HINT));
      return;
    }
    const { meta, planes } = this.scene, total = meta.width * meta.height, found = this.labelsAt(pixel);
    const values = Array.from({ length: meta.channels }, (_, k) => planes[k * total + pixel[1] * meta.width + pixel[0]]);
    const count = found.length === 1 ? "1 label" : `${found.length} labels`;
    const line = element("p", "", `column ${pixel[0]}, row ${pixel[1]}, gray ${values.join(" ")}: ${count}${found.length ? ", the smallest first" : ""}`);
    const chips = found.map(({ label, area, verdict }) => {
      const chip = element("span", "paxray-chip", undefined, { "data-label": this.labels.names[label] });
      const size = meta.spacing ? `${(area * meta.spacing[0] * meta.spacing[1] / 100).toFixed(1)} cm²` : areaText(area, total);
      chip.append(square(this.labels.colors[label]), this.labels.names[label] + " ", element("span", "", verdict ? `${size}, ${verdict}` : size));
      return chip;
    });
    box.replaceChildren(line, ...chips);
  }

  pick(pixel, alone) {
    const smallest = this.labelsAt(pixel)[0];
    if (!smallest) return;
    if (alone) this.choose(this.labels.ofName.get(this.labels.names[smallest.label]));
    else this.toggle([smallest.label], true);
    this.tree.show(smallest.label);
  }

  moved() {
    this.find("zoom").textContent = `${Math.round(100 * this.camera.scale)}%`;
    const visible = this.camera.visible();
    this.root.dataset.visible = visible;
    clearTimeout(this.settle);
    this.settle = setTimeout(() => {
      if (this.scene && String(visible) !== String(this.model.get("visible"))) this.set("visible", visible);
    }, 150);
  }

  export() {
    if (!this.scene) return;
    const [top, left, height, width] = this.camera.visible().length ? this.camera.visible() : [0, 0, this.canvas.height, this.canvas.width];
    const picture = Object.assign(document.createElement("canvas"), { width, height });
    picture.getContext("2d", { alpha: false }).putImageData(this.scene.data, -left, -top);
    picture.toBlob(blob => {
      const link = element("a", "", "", { download: `${this.scene.meta.name.replaceAll("/", "_")}.png` });
      link.href = URL.createObjectURL(blob);
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }, "image/png");
  }

  // -- browsing

  /** The images to browse, in order: filtered by view, worst score first. */
  order() {
    const { names, views, scores } = this.items, view = this.model.get("view_filter"), column = scores[this.model.get("sort_by")];
    const kept = names.map((_, i) => i).filter(i => (!view || views[i] === view) && (!this.offline || this.store.scenes.has(i)));
    return column ? kept.sort((a, b) => (column[a] ?? Infinity) - (column[b] ?? Infinity) || a - b) : kept;
  }

  step(by) {
    const order = this.order(), place = order.indexOf(this.model.get("position"));
    const next = order[place < 0 ? 0 : place + by];
    if (next !== undefined) this.set("position", next);
  }

  /** Show the image of the current position as soon as it is there, and ask for its neighbors. */
  async go() {
    const position = this.model.get("position"), { store } = this;
    this.updateBrowse();
    const message = store.scenes.get(position);
    this.wanted = message ? null : position;
    if (!message) {
      store.need([position]);
      this.slow = setTimeout(() => this.wanted === position && this.say("Waiting for the kernel, which sends this image …"), 300);
      return;
    }
    if (message.error) {
      this.show(null);
      this.say(message.error);
    } else if (this.scene?.message !== message) {
      const start = performance.now(), scene = await this.unpack(message);
      if (position !== this.model.get("position")) return;
      this.show(scene);
      this.root.dataset.firstMs = (performance.now() - start).toFixed(1);
    }
    const order = this.order(), place = order.indexOf(position);
    if (!this.offline) store.need([order[place + 1], order[place - 1], order[place + 2]].filter(index => index !== undefined));
  }

  async unpack(message) {
    const parts = {};
    await Promise.all(["image", "target", "prediction"].map(async part => {
      if (message[part]) parts[part] = await inflate(toBytes(message[part]));
    }));
    return Object.assign(new Scene(message, parts, this.labels.names.length, this.labels.colors), { message });
  }

  show(scene) {
    const same = scene && this.canvas.width === scene.meta.width && this.canvas.height === scene.meta.height;
    this.scene = scene;
    this.say("");
    if (!scene) {
      this.canvas.width = 0;
      return;
    }
    if (!same) [this.canvas.width, this.canvas.height] = [scene.meta.width, scene.meta.height];
    if (same) this.camera.apply(); else this.camera.reset();
    this.find("stage").setAttribute("aria-label", `${scene.meta.name} with labels`);
    this.draw();
    this.refilter();
    this.updateModes();
    this.tree.mark(this.indices());
    this.readout(null);
    setTimeout(() => this.scene === scene && this.updateScene(), 20); // the picture first, then its scores
  }

  say(text) {
    clearTimeout(this.slow);
    const message = this.find("message");
    message.textContent = text;
    message.hidden = !text;
  }

  // -- controls

  buildControls() {
    for (const [mode, text] of Object.entries(MODES)) {
      const button = element("button", "", text, { role: "radio", "data-testid": `mode-${mode}` });
      button.addEventListener("click", () => this.set("mode", mode));
      this.root.querySelector(".paxray-modes").append(button);
    }
    const outline = this.find("outline");
    for (let width = 0; width <= 8; width++) outline.append(new Option(width ? `${width} px` : "none", width));
  }

  buildBrowse() {
    const { names, scores } = this.items, sort = this.find("sort");
    this.find("browse").hidden = names.length < 2;
    for (const column of Object.keys(scores)) sort.append(new Option(`worst ${column.replaceAll("_", " ")}`, column));
    this.find("sort-label").hidden = sort.options.length < 2;
  }

  updateBrowse() {
    const { names, scores } = this.items, order = this.order(), position = this.model.get("position"), jump = this.find("jump");
    if (names.length < 2) return;
    const column = scores[this.model.get("sort_by")];
    const text = i => names[i] + (column ? `  ${column[i] === null ? "–" : column[i].toFixed(3)}` : "");
    const key = `${order}|${this.model.get("sort_by")}`;
    if (this.listed !== key) jump.replaceChildren(...order.map(i => new Option(text(i), i)));
    this.listed = key;
    jump.value = position;
    const place = order.indexOf(position);
    this.find("previous").disabled = place <= 0;
    this.find("next").disabled = place < 0 ? !order.length : place === order.length - 1;
    const stored = this.offline && this.store.scenes.size < names.length ? ` stored here, ${names.length} in all` : "";
    this.find("place").textContent = `${place + 1 || "–"} of ${order.length}${stored}`;
    this.find("view").value = this.model.get("view_filter");
    this.find("sort").value = this.model.get("sort_by");
  }

  /** Write the traits of the style into the controls. */
  readStyle() {
    const { alpha, outline, dashed, window: [low, high] } = this.style();
    if (String(this.windowOfSliders()) !== `${low},${high}`) { // else they say the same, beyond the ends of the scale too
      this.find("window").value = high - low;
      this.find("level").value = low + ((high - low) >> 1);
    }
    this.find("opacity").value = alpha;
    const texts = { opacity: `${Math.round(alpha / 2.55)}%`, level: this.find("level").value, window: this.find("window").value };
    for (const [id, text] of Object.entries(texts)) this.find(id).nextElementSibling.textContent = text;
    this.find("outline").value = outline;
    this.find("dashed").checked = dashed;
    this.updateModes();
  }

  windowOfSliders() {
    const width = Number(this.find("window").value), low = Number(this.find("level").value) - (width >> 1);
    const from = Math.max(0, Math.min(254, low));
    return [from, Math.max(from + 1, Math.min(255, low + width))];
  }

  connect() {
    const { model, store, camera } = this, { signal } = this.stop;
    const listen = (id, type, handler) => this.find(id).addEventListener(type, handler, { signal });
    const follow = (name, handler) => {
      const called = () => handler();
      model.on(`change:${name}`, called);
      signal.addEventListener("abort", () => model.off(`change:${name}`, called));
    };
    follow("selected", () => this.update());
    for (const name of ["mode", "alpha", "outline", "dashed", "window"]) follow(name, () => { this.readStyle(); this.draw(); });
    follow("position", () => this.go());
    for (const name of ["view_filter", "sort_by"]) follow(name, () => this.updateBrowse());
    const arrived = index => { if (index === this.wanted) this.go(); };
    store.listeners.add(arrived);
    signal.addEventListener("abort", () => store.listeners.delete(arrived));

    listen("search", "input", () => { this.tree.word = this.find("search").value; this.refilter(); });
    listen("present", "change", () => { this.tree.presentOnly = this.find("present").checked; this.refilter(); });
    listen("all", "click", () => this.choose([...this.indices(), ...this.tree.listed()]));
    listen("none", "click", () => this.choose([]));
    listen("copy", "click", () => this.copy());
    listen("opacity", "input", () => this.set("alpha", Number(this.find("opacity").value)));
    listen("outline", "change", () => this.set("outline", Number(this.find("outline").value)));
    listen("dashed", "change", () => this.set("dashed", this.find("dashed").checked));
    for (const id of ["level", "window"]) listen(id, "input", () => { this.set("window", this.windowOfSliders()); this.readStyle(); });
    listen("zoom-in", "click", () => camera.zoom(1.5));
    listen("zoom-out", "click", () => camera.zoom(1 / 1.5));
    listen("zoom-reset", "click", () => camera.reset());
    listen("export", "click", () => this.export());
    listen("previous", "click", () => this.step(-1));
    listen("next", "click", () => this.step(1));
    listen("jump", "change", () => this.set("position", Number(this.find("jump").value)));
    for (const [id, name] of [["view", "view_filter"], ["sort", "sort_by"]])
      listen(id, "change", () => {
        this.set(name, this.find(id).value);
        const order = this.order();
        if (order.length && (name === "sort_by" || !order.includes(model.get("position")))) this.set("position", order[0]);
      });
    this.root.addEventListener("keydown", event => this.key(event), { signal });
    this.connectStage(listen);
  }

  connectStage(listen) {
    const { camera } = this, stage = this.find("stage");
    const at = event => { const box = stage.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    let press = null, before = null;
    listen("stage", "wheel", event => {
      if (event.deltaY > 0 && camera.fitted) return; // nothing to zoom out: let the page scroll
      event.preventDefault();
      camera.zoom(Math.exp(-Math.max(-300, Math.min(300, event.deltaY)) * (event.deltaMode ? 0.06 : 0.002)), ...at(event));
    });
    listen("stage", "pointerdown", event => {
      if (event.button || event.target.closest("button")) return;
      press = { x: event.clientX, y: event.clientY, moved: false };
      stage.setPointerCapture(event.pointerId);
    });
    listen("stage", "pointermove", event => {
      if (event.buttons & 1 && press && (press.moved || Math.hypot(event.clientX - press.x, event.clientY - press.y) > 3)) {
        stage.classList.add("panning");
        camera.pan(event.clientX - press.x, event.clientY - press.y);
        press = { x: event.clientX, y: event.clientY, moved: true };
      }
      this.readout(camera.pixel(...at(event)));
    });
    listen("stage", "pointerup", () => stage.classList.remove("panning"));
    listen("stage", "click", event => {
      const pixel = camera.pixel(...at(event));
      if (event.target.closest("button") || press?.moved || event.detail > 1 || !this.scene || !pixel) return;
      before = this.selected;
      this.pick(pixel, event.shiftKey);
    });
    listen("stage", "pointercancel", () => { press = null; stage.classList.remove("panning"); });
    listen("stage", "pointerleave", () => this.readout(null));
    listen("stage", "dblclick", event => {
      if (event.target.closest("button")) return;
      if (before) this.set("selected", before); // the clicks that it is made of were no choice
      camera.reset();
    });
  }

  key(event) {
    const typing = event.target.matches("input[type=search], select, input[type=range]");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const search = this.find("search"), { camera } = this;
    if (event.target === search) {
      if (event.key === "Escape") { search.value = ""; search.dispatchEvent(new Event("input")); }
      else if (event.key === "ArrowDown" || event.key === "Enter") this.find("tree").focus();
      else return;
      event.preventDefault();
      return;
    }
    const modes = event.target.closest("[role=radiogroup]") && this.scene ? this.scene.modes : null;
    const turn = by => {
      const now = modes.indexOf(this.scene.mode(this.model.get("mode")));
      const mode = modes[(now + by + modes.length) % modes.length];
      this.set("mode", mode);
      this.find(`mode-${mode}`).focus();
    };
    const onStage = event.target === this.find("stage");
    const actions = {
      "/": () => search.focus(), "+": () => camera.zoom(1.5), "=": () => camera.zoom(1.5), "-": () => camera.zoom(1 / 1.5),
      0: () => camera.reset(), n: () => this.step(1), p: () => this.step(-1),
      ...(onStage && { ArrowLeft: () => camera.pan(60, 0), ArrowRight: () => camera.pan(-60, 0), ArrowUp: () => camera.pan(0, 60), ArrowDown: () => camera.pan(0, -60) }),
      ...(modes && { ArrowLeft: () => turn(-1), ArrowRight: () => turn(1) }),
    };
    if (typing || event.defaultPrevented || !Object.hasOwn(actions, event.key)) return;
    event.preventDefault();
    actions[event.key]();
  }

  close() {
    this.stop.abort();
    clearTimeout(this.settle);
    clearTimeout(this.slow);
    this.root.remove();
  }
}

const stores = new WeakMap();

function render({ model, el }) {
  if (!stores.has(model)) stores.set(model, new Store(model));
  const viewer = new Viewer(model, stores.get(model), el, false);
  return () => viewer.close();
}

/** The few methods of a widget's model that the viewer needs, over plain values. */
class PageModel {
  constructor(traits) {
    this.traits = traits;
    this.handlers = new Map();
  }

  get(name) { return this.traits[name]; }

  set(name, value) {
    if (JSON.stringify(this.traits[name]) === JSON.stringify(value)) return;
    this.traits[name] = value;
    for (const handler of this.handlers.get(`change:${name}`) ?? []) handler();
  }

  on(name, handler) { this.handlers.set(name, [...(this.handlers.get(name) ?? []), handler]); }

  off(name, handler) { this.handlers.set(name, (this.handlers.get(name) ?? []).filter(other => other !== handler)); }

  save_changes() {}

  send() {}
}

/** Start each viewer that a page carries without a kernel; see viewer_page.py. */
function startOffline(page) {
  for (const el of page.querySelectorAll(".paxray-offline:not([data-started])")) {
    el.dataset.started = "";
    const { traits, scenes } = JSON.parse(el.querySelector("script[type='application/json']").textContent);
    const model = new PageModel({ ...traits, _first: scenes[0] }), store = new Store(model);
    scenes.slice(1).forEach(scene => store.add(scene));
    el.querySelector("figure").remove();
    const viewer = new Viewer(model, store, el, true);
    if (!getComputedStyle(el).getPropertyValue("--jp-layout-color1")) viewer.root.classList.add("standalone");
  }
}

export default { render };
