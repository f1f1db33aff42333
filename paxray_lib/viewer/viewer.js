// The whole viewer: browsing, and the controls with what they do.

class Viewer extends Drawing {
  // -- browsing

  /** The images to browse, in order: filtered by view, the worst score first. */
  order() {
    const { names, views, scores } = this.items, view = this.model.get("view_filter");
    const column = scores[this.model.get("sort_by")];
    const kept = names.map((_, i) => i).filter(i => !view || views[i] === view)
      .filter(i => !this.offline || this.store.scenes.has(i));
    const sign = this.items.highest.includes(this.model.get("sort_by")) ? -1 : 1, rank = i => sign * (column[i] ?? sign * Infinity);
    return column ? kept.sort((a, b) => (rank(a) === rank(b) ? 0 : rank(a) - rank(b)) || a - b) : kept;
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
    const [target = MODES.target, prediction = MODES.prediction] = this.model.get("names");
    for (const [mode, text] of Object.entries({ ...MODES, target, prediction })) {
      const button = element("button", "", text, { role: "radio", "data-testid": `mode-${mode}` });
      button.addEventListener("click", () => this.set("mode", mode));
      this.root.querySelector("[role=radiogroup]").append(button);
    }
    this.buildBrowse();
    const outline = this.find("outline");
    for (let width = 0; width <= 8; width++) outline.append(new Option(width ? `${width} px` : "none", width));
  }

  buildBrowse() {
    this.items = this.model.get("_items");
    const { names, scores, ranks } = this.items;
    const columns = new Set([...Object.keys(scores), ...(this.offline ? [] : ranks)]);
    this.find("browse").hidden = names.length < 2;
    this.find("sort").replaceChildren(new Option("file order", ""), ...[...columns].map(column =>
      new Option(`worst ${column.replaceAll("_", " ")}${column in scores ? "" : " (reads all)"}`, column)));
    this.find("sort-label").hidden = !columns.size;
    this.listed = null;
  }

  /** Go on to the first image of an order, once there are scores for it. */
  sorted() {
    const order = this.order(), column = this.model.get("sort_by");
    if (column && !(column in this.items.scores)) this.say("Waiting for the kernel to score all images …");
    else if (order.length) this.set("position", order[0]);
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

  autoWindow() { if (this.scene) this.set("window", autoWindow(this.scene.planes)); }

  helpTexts() { return HELP; }

  help(shown) {
    const box = this.find("hint"), list = element("dl");
    for (const [keys, text] of Object.entries(this.helpTexts())) list.append(element("dt", "", keys), element("dd", "", text));
    box.replaceChildren(list, ...sharedNames(this.labels).map(text => element("p", "", text)));
    box.hidden = !shown;
    this.find("help").setAttribute("aria-expanded", shown);
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
    follow("_items", () => { this.buildBrowse(); this.updateBrowse(); this.say(""); this.sorted(); });
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
    listen("auto", "click", () => this.autoWindow());
    listen("gray-reset", "click", () => this.set("window", [0, 255]));
    listen("help", "click", () => this.help(this.find("hint").hidden));
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
        if (name === "sort_by") this.sorted();
        else if (order.length && !order.includes(model.get("position"))) this.set("position", order[0]);
      });
    this.root.addEventListener("keydown", event => this.key(event), { signal });
    // JupyterLab reads this attribute, from the target up: plain keys are ours while the focus is here, Ctrl+S and the like stay its own
    window.addEventListener("keydown", ({ target, ctrlKey, metaKey, altKey }) => this.root.contains(target) &&
      target.toggleAttribute("data-lm-suppress-shortcuts", !ctrlKey && !metaKey && !altKey), { signal, capture: true });
    this.connectStage(listen);
  }

  connectStage(listen) {
    const { camera } = this, stage = this.find("stage"), at = event => this.at(event);
    let press = null, before = null;
    listen("stage", "wheel", event => {
      if (event.target.closest(".paxray-help") || (event.deltaY > 0 && camera.fitted)) return; // nothing to zoom out: let the page scroll
      event.preventDefault();
      camera.zoom(Math.exp(-Math.max(-300, Math.min(300, event.deltaY)) * (event.deltaMode ? 0.06 : 0.002)), ...at(event));
    });
    listen("stage", "pointerdown", event => {
      if (event.button || event.target.closest("button, .paxray-help")) return;
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
      if (event.target.closest("button, .paxray-help") || event.detail > 1) return;
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
    if (event.key === "Escape" && !this.find("hint").hidden) this.help(false);
    const modes = event.target.closest("[role=radiogroup]") && this.scene ? this.scene.modes : null;
    const turn = by => {
      const now = modes.indexOf(this.scene.mode(this.model.get("mode")));
      const mode = modes[(now + by + modes.length) % modes.length];
      this.set("mode", mode);
      this.find(`mode-${mode}`).focus();
    };
    const onStage = event.target === this.find("stage") && !camera.fitted;
    const actions = {
      "/": () => search.focus(), "+": () => camera.zoom(1.5), "=": () => camera.zoom(1.5), "-": () => camera.zoom(1 / 1.5),
      0: () => camera.reset(), n: () => this.step(1), p: () => this.step(-1), "?": () => this.help(this.find("hint").hidden),
      d: () => this.besides(), a: () => this.autoWindow(), r: () => this.set("window", [0, 255]),
      ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1),
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
