// The LabelViewer's page. Joined behind viewer_pixels.js and viewer_parts.js into one anywidget module.
//
// All state that Python may read or set lives in the model's traits: a click sets a trait, and the trait's change redraws.
// viewer_parts.js lists the data-testid of every control.

class Viewer {
  constructor(model, store, el, offline) {
    Object.assign(this, { model, store, offline, scene: null, wanted: null, drawn: null, draws: 0 });
    this.stop = new AbortController();
    this.root = element("div", "paxray", undefined, { "data-testid": "viewer", "data-drawn": 0 });
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

  readLabels({ names, texts, groups, colors, tree }) {
    const labels = {
      names, texts, colors, groupNames: [...new Set(groups)],
      members: {}, depth: {}, ids: [], ofName: new Map(),
    };
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
    return Object.fromEntries(["mode", "alpha", "outline", "dashed", "window"].map(name => [name, this.model.get(name)]));
  }

  /** Draw again what differs from what was drawn: the boxes of the toggled labels, or all. */
  draw() {
    if (!this.scene) return;
    const start = performance.now(), chosen = this.indices(), style = this.style(), key = JSON.stringify(style);
    const before = this.drawn?.scene === this.scene && this.drawn.key === key ? this.drawn.chosen : null;
    const toggled = before && [...chosen].filter(i => !before.has(i)).concat([...before].filter(i => !chosen.has(i)));
    const box = this.scene.draw(chosen, style, toggled);
    if (box) this.context.putImageData(this.scene.data, 0, 0, box[0], box[1], box[2] - box[0], box[3] - box[1]);
    this.drawn = { scene: this.scene, key, chosen };
    this.root.dataset.drawMs = (performance.now() - start).toFixed(2);
    this.root.dataset.drawn = ++this.draws;
  }

  update() {
    this.draw();
    const chosen = this.indices();
    this.tree.mark(chosen);
    this.find("count").textContent = `${chosen.size} of ${this.labels.names.length}`;
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
    const { target, prediction, meta } = this.scene, i = row * meta.width + column;
    const mode = this.scene.mode(this.model.get("mode"));
    const used = mode === "target" ? [target] : mode === "prediction" ? [prediction] : [target, prediction];
    const stacks = used.filter(Boolean);
    const found = new Set(stacks.flatMap(stack => stack.sets.list(stack.ids[i])));
    const area = label => Math.max(...stacks.map(stack => stack.area[label]));
    const verdict = label => {
      if (stacks.length < 2) return "";
      const [a, b] = stacks.map(stack => stack.sets.has(stack.ids[i], label));
      return a && b ? "in both" : a ? "missed" : "extra";
    };
    return [...found].map(label => ({ label, area: area(label), verdict: verdict(label) }))
      .sort((a, b) => a.area - b.area || a.label - b.label);
  }

  readout(pixel) {
    const box = this.find("readout");
    if (!pixel || !this.scene) {
      const shared = sharedNames(this.labels).map(text => ` ${text}`).join("");
      box.replaceChildren(element("p", "", (this.scene?.meta.note ?? "") + HINT + shared));
      return;
    }
    const { meta, planes } = this.scene, total = meta.width * meta.height, found = this.labelsAt(pixel);
    const values = Array.from({ length: meta.channels }, (_, k) => planes[k * total + pixel[1] * meta.width + pixel[0]]);
    const count = found.length === 1 ? "1 label" : found.length ? `${found.length} labels, the smallest first` : "no label";
    const line = element("p", "", `column ${pixel[0]}, row ${pixel[1]}, gray ${values.join(" ")}: ${count}`);
    const chips = found.map(({ label, area, verdict }) => {
      const chip = element("span", "paxray-chip", undefined, { "data-label": this.labels.names[label] });
      const [down, across] = meta.spacing ?? [];
      const size = meta.spacing ? `${(area * down * across / 100).toFixed(1)} cm²` : areaText(area, total);
      const text = element("span", "", verdict ? `${size}, ${verdict}` : size);
      chip.append(square(this.labels.colors[label]), this.labels.texts[label] + " ", text);
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
    const seen = this.camera.visible();
    const [top, left, height, width] = seen.length ? seen : [0, 0, this.canvas.height, this.canvas.width];
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
    const { names, views, scores } = this.items, view = this.model.get("view_filter");
    const column = scores[this.model.get("sort_by")];
    const kept = names.map((_, i) => i).filter(i => !view || views[i] === view)
      .filter(i => !this.offline || this.store.scenes.has(i));
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
      this.slow = setTimeout(() => this.wanted === position && this.say("Waiting for the kernel to send this image …"), 300);
      return;
    }
    if (message.error) {
      this.show(null);
      this.say(message.error);
    } else if (this.scene?.message === message) this.say(""); // back from one that did not arrive yet
    else {
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
    const { names, scores } = this.items, order = this.order(), position = this.model.get("position");
    if (names.length < 2) return;
    const jump = this.find("jump");
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
    for (const id of ["opacity", "level", "window"]) {
      const { value, nextElementSibling } = this.find(id);
      nextElementSibling.textContent = id === "opacity" ? `${Math.round(value / 2.55)}%` : value;
    }
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
    for (const id of ["level", "window"])
      listen(id, "input", () => { this.set("window", this.windowOfSliders()); this.readStyle(); });
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
    // JupyterLab reads this attribute: plain keys are ours while the focus is here, Ctrl+S and the like stay its own
    window.addEventListener("keydown", ({ ctrlKey, metaKey, altKey }) =>
      this.root.toggleAttribute("data-lm-suppress-shortcuts", !ctrlKey && !metaKey && !altKey), { signal, capture: true });
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
      if (event.target.closest("button") || event.detail > 1) return;
      before = this.selected;
      const pixel = camera.pixel(...at(event));
      if (this.scene && pixel && !press?.moved) this.pick(pixel, event.shiftKey);
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
      ...(onStage && { ArrowLeft: () => camera.pan(60, 0), ArrowRight: () => camera.pan(-60, 0) }),
      ...(onStage && { ArrowUp: () => camera.pan(0, 60), ArrowDown: () => camera.pan(0, -60) }),
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

// Views get different objects for one model; its label table is the same object for all of them.
const stores = new WeakMap();

function initialize({ model }) { stores.set(model.get("_labels"), new Store(model)); }

function render({ model, el }) {
  const viewer = new Viewer(model, stores.get(model.get("_labels")), el, false);
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

/** Start each viewer that a page carries without a kernel; see offline_page.py. */
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

export default { initialize, render };
