// What to doubt in a film: the heat map of a label with its scale and threshold, and broken rules.

class DoubtViewer extends Beside {
  /** The label of the heat map that is shown, its threshold; null where a film has none. */
  get heat() {
    const heat = this.scene?.heat;
    if (!heat) return null;
    const name = heat.names[heat.place(this.model.get("heat_label"))];
    return { name, label: this.labels.ofName.get(name)[0], threshold: this.model.get("thresholds")[name] ?? 0.5 };
  }

  style() { return { ...super.style(), heat: this.heat }; }

  async unpack(message) {
    const scene = await super.unpack(message);
    if (message.heat) scene.heat = new Heat(message.heat, await inflate(toBytes(message.probabilities)), scene);
    return scene;
  }

  connect() {
    super.connect();
    const { signal } = this.stop;
    const listen = (id, type, handler) => this.find(id).addEventListener(type, handler, { signal });
    const follow = name => {
      const called = () => this.draw();
      this.model.on(`change:${name}`, called);
      signal.addEventListener("abort", () => this.model.off(`change:${name}`, called));
    };
    follow("heat_label");
    follow("thresholds");
    listen("heat-label", "change", () => this.set("heat_label", this.find("heat-label").value));
    listen("threshold", "input", () => this.setThreshold(Number(this.find("threshold").value) / 100));
    listen("threshold-reset", "click", () => this.setThreshold(0.5));
    listen("broken", "change", () => this.jump(this.scene.meta.broken[this.find("broken").value]));
    listen("tree", "click", () => {
      const name = this.labels.names[this.tree.active?.index];
      if (this.scene?.heat?.names.includes(name)) this.set("heat_label", name);
    });
  }

  setThreshold(threshold) { this.set("thresholds", { ...this.model.get("thresholds"), [this.heat.name]: threshold }); }

  show(scene) {
    super.show(scene);
    if (!scene) this.updateHeat();
    this.listBroken();
  }

  /** List the broken rules, unless they are listed already. */
  listBroken() {
    const broken = this.scene?.meta.broken ?? [], name = label => this.labels.texts[label];
    if (broken === this.brokenListed) return;
    this.brokenListed = broken;
    const whose = role => this.model.get("names").length ? `${this.find(`mode-${role}`).textContent}: ` : "";
    this.find("broken").replaceChildren(new Option(`Broken rules: ${broken.length}`, "", true, true),
      ...broken.map(([role, kind, first, second], k) => new Option(`${whose(role)}${name(first)} not ${kind} ${name(second)}`, k)));
    this.find("broken").hidden = !broken.length;
  }

  /** Choose the two labels of a broken rule, and zoom to where they are. */
  jump([role, , first, second]) {
    this.choose([first, second]);
    const stack = this.scene[role], box = joinBoxes(stack.box[first], stack.box[second]);
    if (box) this.camera.frame(box);
    this.tree.show(first);
  }

  draw() {
    super.draw();
    this.updateHeat();
  }

  updateModes() {
    super.updateModes();
    this.find("mode-probability").hidden = !this.scene?.heat;
  }

  /** Fill in the panel over the film. */
  updateHeat() {
    const { heat, scene } = this, panel = this.find("heat");
    panel.hidden = !heat || scene.mode(this.model.get("mode")) !== "probability";
    if (panel.hidden) return;
    const choice = this.find("heat-label"), names = [...new Set(scene.heat.names)], slider = this.find("threshold");
    if (choice.dataset.names !== String(names)) {
      choice.replaceChildren(...names.map(name => new Option(this.labels.texts[this.labels.ofName.get(name)[0]], name)));
      choice.dataset.names = names;
    }
    choice.value = heat.name;
    slider.value = Math.round(100 * heat.threshold);
    slider.nextElementSibling.textContent = heat.threshold.toFixed(2);
    const scores = scene.heat.scores(), [area] = scene.heat.counts, total = scene.meta.width * scene.meta.height;
    this.find("heat-scores").textContent = scores ? `IoU ${scoreText(scores[0])}, Dice ${scoreText(scores[1])}` : areaText(area, total);
    const lines = [[HEAT_THRESHOLD, `p > ${heat.threshold.toFixed(2)}`]];
    if (scores) lines.push([HEAT_TARGET, this.find("mode-target").textContent.toLowerCase()]);
    this.find("heat-lines").replaceChildren(...lines.map(([color, text]) => {
      const part = element("span");
      part.append(square(color), text);
      return part;
    }));
  }

  entries() {
    if (this.scene.mode(this.model.get("mode")) !== "probability") return super.entries();
    const { heat } = this, scale = [1, 25, 50, 75, 100].map(part => [(part / 100).toFixed(2), heatColor(Math.floor(part * 255 / 100))]);
    return [[`${heat.name} > ${heat.threshold.toFixed(2)}`, [160, 160, 160]], ...scale];
  }

  readout(pixel) {
    super.readout(pixel);
    const { heat, scene } = this;
    if (!pixel || !heat || scene.mode(this.model.get("mode")) !== "probability") return;
    const value = scene.heat.values[pixel[1] * scene.meta.width + pixel[0]] / HEAT_ONE;
    this.find("readout").prepend(element("p", "", `${this.labels.texts[heat.label]}: probability ${value.toFixed(2)}`));
  }
}
