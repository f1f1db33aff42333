// What the viewer shows: the chosen labels, their drawing, and what is read under the cursor.
//
// All state that Python may read or set lives in the model's traits: a click sets a trait, and the
// trait's change redraws.

class Drawing {
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
    this.camera = new Camera(this.find("pane"), this.canvas, () => this.moved());
    this.tree = new Tree(this.find("tree"), this.labels, {
      toggle: (indices, on) => this.toggle(indices, on), only: indices => this.choose(indices), refilter: () => this.refilter(),
    });
    this.buildControls();
    fitHeight(this.root, this.stop.signal);
    this.connect();
    this.readStyle();
    this.readout(null);
    this.go();
  }

  find(id) { return this.root.querySelector(`[data-testid="${id}"]`); }

  readLabels({ names, texts, groups, checked, colors, tree }) {
    const labels = {
      names, texts, checked, colors, groupNames: [...new Set(groups)],
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
    this.paint(chosen, style, toggled);
    this.drawn = { scene: this.scene, key, chosen };
    this.root.dataset.drawMs = (performance.now() - start).toFixed(2);
    this.root.dataset.drawn = ++this.draws;
  }

  paint(chosen, style, toggled) {
    const box = this.scene.draw(chosen, style, toggled);
    if (box) put(this.context, this.scene.data, box);
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
    const scores = [...chosen].map(i => this.scene.scores(i)).filter(([iou]) => !Number.isNaN(iou));
    const average = k => scores.length ? (scores.reduce((sum, score) => sum + score[k], 0) / scores.length).toFixed(2) : "–";
    mean.textContent = `mean IoU ${average(0)}, Dice ${average(1)}`;
    [cells[0].textContent, cells[1].textContent] = ["IoU", "Dice"];
  }

  /** Fill in what depends on the image alone. */
  updateScene() {
    const { scene, labels } = this, total = scene.meta.width * scene.meta.height, { pair } = scene;
    const texts = labels.names.map((_, i) => {
      if (pair) return scene.scores(i).map(scoreText);
      const stack = scene.target ?? scene.prediction;
      return ["", stack ? areaText(stack.area[i], total) : ""];
    });
    this.tree.numbers(texts, pair ? ["iou", "dice"] : ["unused", "area"]);
    const [first, second] = this.model.get("names"), alone = { "not annotated": `only ${second}`, "not predicted": `only ${first}` };
    this.tree.note(labels.names.map((_, i) => first ? alone[scene.lack(i)] ?? "" : scene.lack(i)));
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
    legend.replaceChildren(...(mode === "both" ? [element("span", "", this.modeNames())]
      : Object.entries(VERDICTS).map(([text, color]) => { const part = element("span"); part.append(square(color), this.term(text)); return part; })));
  }

  modeNames() {
    const [first, second] = this.model.get("names");
    return first ? `fill: ${first}, outline: ${second}` : "fill: ground truth, outline: prediction";
  }

  /** A verdict as it is called between two predictions that have names. */
  term(verdict) {
    const [first, second] = this.model.get("names");
    const terms = { "true positive": "both", "false positive": `only ${second}`, "false negative": `only ${first}`,
      "not annotated": `a label of ${second} alone`, "not predicted": `a label of ${first} alone` };
    return first && Object.hasOwn(terms, verdict) ? terms[verdict] : verdict;
  }

  // -- reading

  /** The panel of an event, and its place there. */
  paneOf() { return this.find("pane"); }

  at(event) {
    const box = this.paneOf(event).getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  labelsAt([column, row]) {
    const { target, prediction, meta } = this.scene, i = row * meta.width + column;
    const mode = this.scene.mode(this.model.get("mode"));
    const used = mode === "target" ? [target] : mode === "prediction" ? [prediction] : [target, prediction];
    const stacks = used.filter(Boolean);
    const found = new Set(stacks.flatMap(stack => stack.sets.list(stack.ids[i])));
    const area = label => Math.max(...stacks.map(stack => stack.area[label]));
    const verdict = label => {
      if (stacks.length < 2) return "";
      if (this.scene.lack(label)) return this.scene.lack(label);
      const [a, b] = stacks.map(stack => stack.sets.has(stack.ids[i], label));
      return a && b ? "true positive" : a ? "false negative" : "false positive";
    };
    return [...found].map(label => ({ label, area: area(label), verdict: verdict(label) }))
      .sort((a, b) => a.area - b.area || a.label - b.label);
  }

  readout(pixel) {
    const box = this.find("readout");
    if (!pixel || !this.scene) {
      const { name, width, height, note } = this.scene?.meta ?? {};
      box.replaceChildren(element("p", "", name ? `${name}, ${width} x ${height} pixels` : ""), element("p", "", (note ?? "") + HINT));
      return;
    }
    const { meta, planes } = this.scene, total = meta.width * meta.height, found = this.labelsAt(pixel);
    const values = Array.from({ length: meta.channels }, (_, k) => planes[k * total + pixel[1] * meta.width + pixel[0]]);
    const count = found.length === 1 ? "1 label" : found.length ? `${found.length} labels, the smallest first` : "no label";
    const line = element("p", "", `column ${pixel[0]}, row ${pixel[1]}, gray ${values.join(" ")}: ${count}`);
    const chip = ({ label, area }) => {
      const made = element("span", "paxray-chip", undefined, { "data-label": this.labels.names[label] });
      const [down, across] = meta.spacing ?? [];
      const size = meta.spacing ? `${(area * down * across / 100).toFixed(1)} cm²` : areaText(area, total);
      made.append(square(this.labels.colors[label]), this.labels.texts[label] + " ", element("span", "", size));
      return made;
    };
    const sections = [...Object.keys(VERDICTS), "not annotated", "not predicted", ""].flatMap(verdict => {
      const chips = found.filter(one => one.verdict === verdict).map(chip);
      if (!chips.length || !verdict) return chips;
      const title = element("p", "paxray-verdict", this.term(verdict));
      if (verdict in VERDICTS) title.prepend(square(VERDICTS[verdict]));
      return [title, ...chips];
    });
    box.replaceChildren(line, ...sections);
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

  /** [text, color] of what is drawn, for a legend. */
  entries() {
    const { texts, colors } = this.labels;
    if (this.scene.mode(this.model.get("mode")) === "difference") return Object.entries(VERDICTS).map(([text, color]) => [this.term(text), color]);
    return [...this.indices()].sort((a, b) => a - b).map(i => [texts[i], colors[i]]);
  }

  /** What is drawn, panel by panel, and what to call it. */
  pictures() { return [this.scene.data]; }

  caption() { return this.scene.meta.name; }

  export() {
    if (!this.scene) return;
    const seen = this.camera.visible();
    const part = seen.length ? seen : [0, 0, this.canvas.height, this.canvas.width];
    withLegend(this.pictures(), part, this.caption(), this.entries()).toBlob(blob => {
      const link = element("a", "", "", { download: `${this.scene.meta.name.replaceAll("/", "_")}.png` });
      link.href = URL.createObjectURL(blob);
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }, "image/png");
  }
}
