// The viewer where masks are corrected: tools, their keys, and strokes on the image.

class Desk extends Viewer {
  buildControls() {
    super.buildControls();
    Object.assign(this, { tool: "point", stroke: null, corners: [], pointer: null });
    this.find("correct").hidden = false;
    this.find("keys").hidden = false;
    this.find("mode-target").textContent = "Corrected";
    for (const id of ["edit-label", "rename-to"])
      this.labels.texts.forEach((text, index) => this.find(id).append(new Option(text, index)));
    for (const [tool, [text, key, title]] of Object.entries(TOOLS)) {
      const button = element("button", "", text, { "data-testid": `tool-${tool}`, title: `${title} (${key})` });
      button.addEventListener("click", () => this.take(tool));
      this.root.querySelector(".paxray-toolbox").append(button);
    }
    const first = this.labels.names.indexOf(this.selected[0]);
    this.find("edit-label").value = this.find("rename-to").value = Math.max(0, first);
    this.take("point");
    this.resize(24);
  }

  get label() { return Number(this.find("edit-label").value); }

  helpTexts() { return { ...super.helpTexts(), ...DESK_HELP }; }

  modeNames() { return "fill: corrected, outline: prediction"; }

  connect() {
    super.connect();
    const { signal } = this.stop, { store } = this, stage = this.find("stage");
    const listen = (id, type, handler) => this.find(id).addEventListener(type, handler, { signal });
    listen("brush-size", "input", () => this.resize(Number(this.find("brush-size").value)));
    listen("undo", "click", () => this.commit({ mode: "undo" }));
    listen("redo", "click", () => this.commit({ mode: "redo" }));
    listen("copy-prediction", "click", () => this.commit({ mode: "copy" }));
    listen("unknown", "change", () => this.commit({ mode: "known", value: !this.find("unknown").checked }));
    listen("edit-label", "change", () => this.correcting());
    listen("save", "click", () => this.save());
    listen("download", "click", () => this.download());
    listen("tree", "click", () => { if (this.tree.active?.index !== undefined) this.correct(this.tree.active.index); });
    const edited = index => { this.catchUp(index); this.status(); };
    for (const listeners of [store.listeners, store.editListeners]) {
      listeners.add(edited);
      signal.addEventListener("abort", () => listeners.delete(edited));
    }
    for (const type of ["pointerdown", "pointermove", "pointerup", "pointercancel", "click", "dblclick"])
      stage.addEventListener(type, event => this.stageEvent(event), { signal, capture: true });
    stage.addEventListener("pointerleave", () => { this.find("cursor").hidden = true; }, { signal });
  }

  // -- the label, the tool

  correct(index) { this.find("edit-label").value = index; this.correcting(); }

  correcting() {
    this.find("unknown").checked = Boolean(this.scene?.unknown.has(this.label));
    this.dropPolygon();
  }

  take(tool) {
    this.tool = tool;
    for (const name of Object.keys(TOOLS)) this.find(`tool-${name}`).setAttribute("aria-pressed", name === tool);
    this.find("rename-label").hidden = tool !== "rename";
    this.find("brush-size").disabled = tool !== "brush" && tool !== "eraser";
    this.find("stage").classList.toggle("drawing", tool !== "point");
    this.find("cursor").hidden = true;
    if (tool !== "point" && this.scene?.mode(this.model.get("mode")) === "prediction") this.set("mode", "target");
    const [name, , text] = TOOLS[tool];
    this.find("keys").textContent = `${name}: ${text}.  Keys: ${Object.values(TOOLS).map(([word, key]) => `${key} ${word.toLowerCase()}`).join(", ")}, [ ] size, z undo, y redo; ? tells all.`;
    this.dropPolygon();
  }

  resize(size) {
    const slider = this.find("brush-size");
    slider.value = size;
    slider.nextElementSibling.textContent = `${slider.value} px`;
  }

  // -- strokes

  /** A record of the label that is corrected; see masks/strokes.py. */
  record(fields) {
    return { id: `${MODULE}-${Desk.count = (Desk.count ?? 0) + 1}`, image: this.scene.meta.name, label: this.label,
      tree: this.find("follow").checked, seconds: Date.now() / 1000, ...fields };
  }

  /** Apply a whole stroke and hand it over. */
  commit(fields) {
    if (!this.scene?.editor || this.stroke) return;
    if (fields.mode !== "undo" && fields.mode !== "redo") this.reveal();
    const record = this.record(fields);
    this.drawChange(this.scene.editor.apply(record));
    this.handOver(record);
  }

  handOver(record) {
    this.store.record(this.scene.message.index, record, !this.offline);
    this.changed();
  }

  /** Make the corrected label one of those that are drawn. */
  reveal() { if (!this.indices().has(this.label)) this.toggle([this.label], true); }

  drawChange(change) {
    if (!change) return;
    const [left, top, right, bottom] = this.scene.drawChange(this.indices(), this.style(), change);
    this.context.putImageData(this.scene.data, 0, 0, left, top, right - left, bottom - top);
    this.root.dataset.drawn = ++this.draws;
  }

  changed() {
    clearTimeout(this.recount);
    this.recount = setTimeout(() => {
      if (!this.scene) return;
      this.refilter();
      this.updateScene();
      this.correcting();
    }, 60);
  }

  /** Apply what another view of the same viewer, or a journal, has and this one not. */
  catchUp(index) {
    const { scene } = this, records = this.store.edits.get(index) ?? [];
    if (scene?.message.index !== index || this.stroke) return;
    if (this.store.scenes.get(index) !== scene.message) return void this.go(); // it was saved
    if (!scene.editor || scene.editor.applied >= records.length) return;
    while (scene.editor.applied < records.length) this.drawChange(scene.editor.apply(records[scene.editor.applied]));
    this.changed();
  }

  async unpack(message) {
    const scene = await super.unpack(message);
    if (!scene.target || message.note) return scene; // of a reduced image strokes would be in another scale
    scene.editor = new MaskEditor(scene, this.model.get("_labels").parents);
    for (const record of this.store.edits.get(message.index) ?? []) scene.editor.apply(record);
    return scene;
  }

  show(scene) {
    super.show(scene);
    this.correcting();
    this.status();
  }

  status() {
    const waiting = this.store.pending.size, made = this.store.edits.get(this.scene?.message.index)?.length ?? 0;
    this.find("kept").textContent = this.offline ? "" : waiting ? `${waiting} not yet kept` : made ? "kept" : "";
    this.find("download").hidden = !this.offline || !made;
    this.find("save").hidden = this.offline || !this.store.folder;
    this.find("save").disabled = !made;
    this.find("kept").title = this.store.trouble ?? "";
    if (this.store.trouble) this.say(`Not kept: ${this.store.trouble}`);
    this.root.dataset.pending = waiting;
  }

  download() {
    const strokes = [...this.store.edits.values()].flat();
    const link = element("a", "", "", { download: "strokes.json" });
    link.href = URL.createObjectURL(new Blob([JSON.stringify(strokes)], { type: "application/json" }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  save() { if (this.store.folder && this.scene) this.model.send({ save: this.scene.message.index }); }

  // -- pointer

  at(event) {
    const box = this.find("stage").getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** The place of an event in sixteenths of a pixel. */
  place(event) {
    const [x, y] = this.at(event), { camera } = this, limit = at => Math.max(-(2 ** 20), Math.min(2 ** 20, Math.round(at)));
    return [limit(UNIT * (x - camera.x) / camera.scale), limit(UNIT * (y - camera.y) / camera.scale)];
  }

  stageEvent(event) {
    this.pointer = this.camera.pixel(...this.at(event));
    const busy = this.stroke || this.tool !== "point";
    if (!busy || !this.scene?.editor || (!this.stroke && event.target.closest("button, .paxray-help"))) return;
    event.stopPropagation();
    if (event.type === "pointermove") this.move(event);
    else if (event.type === "pointerdown" && !event.button && event.isPrimary) this.press(event);
    else if (event.type === "pointerup" || event.type === "pointercancel") this.lift();
    else if (event.type === "dblclick") this.closePolygon();
  }

  press(event) {
    const { tool } = this, point = this.place(event);
    event.preventDefault(); // no text is selected; the focus is ours to set
    this.find("stage").focus({ preventScroll: true });
    this.find("stage").setPointerCapture(event.pointerId);
    if (tool === "fill") this.commit({ mode: "fill", points: [point] });
    else if (tool === "rename") this.commit({ mode: "rename", points: [point], to: Number(this.find("rename-to").value) });
    else if (tool === "polygon" || tool === "cut") {
      this.corners.push(point);
      this.dragging = true;
      this.drawPolygon();
    } else {
      this.reveal();
      const erases = (tool === "eraser") !== event.shiftKey, size = UNIT * Number(this.find("brush-size").value);
      this.stroke = this.record({ mode: erases ? "erase" : "add", shape: "brush", size, points: [point] });
      this.scene.editor.begin(this.stroke);
      this.draw1(0);
    }
  }

  move(event) {
    const { stroke } = this, point = this.place(event);
    if (!stroke) this.readout(this.pointer);
    this.showCursor(event);
    if (this.dragging && event.buttons & 1 && this.far(point, this.corners.at(-1))) {
      this.corners.push(point);
      this.drawPolygon();
    }
    if (!stroke) return;
    const from = stroke.points.length;
    for (const one of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) this.extend(this.place(one));
    if (stroke.points.length > from) this.draw1(from);
  }

  far(a, b) { return Math.hypot(a[0] - b[0], a[1] - b[1]) * this.camera.scale > 4 * UNIT; }

  /** Add a point to the stroke, with others between if it is far away: see MAX_STEP in masks/strokes.py. */
  extend([x, y]) {
    const { points } = this.stroke, [fromX, fromY] = points.at(-1), steps = Math.ceil(Math.hypot(x - fromX, y - fromY) / (MAX_SIZE - 2));
    for (let k = 1; k <= steps; k++)
      points.push([fromX + Math.round((x - fromX) * k / steps), fromY + Math.round((y - fromY) * k / steps)]);
  }

  draw1(from) {
    const start = performance.now();
    this.drawChange(this.scene.editor.extend(from));
    this.root.dataset.strokeMs = (performance.now() - start).toFixed(2);
  }

  lift() {
    this.dragging = false;
    if (!this.stroke) return;
    const { stroke } = this;
    this.scene.editor.finish();
    this.stroke = null;
    this.handOver(stroke);
    this.catchUp(this.scene.message.index);
  }

  showCursor(event) {
    const cursor = this.find("cursor"), [x, y] = this.at(event);
    cursor.hidden = this.tool !== "brush" && this.tool !== "eraser";
    const size = Number(this.find("brush-size").value) * this.camera.scale;
    cursor.style.cssText = `width: ${size}px; height: ${size}px; left: ${x - size / 2}px; top: ${y - size / 2}px`;
  }

  // -- polygon

  drawPolygon() {
    const { camera } = this, line = this.find("polygon");
    line.setAttribute("points", this.corners.map(([x, y]) => `${camera.x + x / UNIT * camera.scale},${camera.y + y / UNIT * camera.scale}`).join(" "));
  }

  moved() {
    super.moved();
    if (this.corners) this.drawPolygon();
  }

  closePolygon() {
    const { corners } = this, mode = this.tool === "cut" ? "erase" : "add";
    this.dropPolygon();
    if (corners.length > 2) this.commit({ mode, shape: "polygon", points: corners });
  }

  dropPolygon() {
    this.corners = [];
    this.drawPolygon();
  }

  // -- keys

  key(event) {
    const typing = event.target.matches("input[type=search], select, input[type=range]");
    const command = event.ctrlKey || event.metaKey, name = event.key.length > 1 ? event.key : event.key.toLowerCase();
    const size = Number(this.find("brush-size").value), flip = id => { this.find(id).checked = !this.find(id).checked; };
    const actions = {
      z: () => this.commit({ mode: event.shiftKey && command ? "redo" : "undo" }), y: () => this.commit({ mode: "redo" }),
      ...(!command && {
        ...Object.fromEntries(Object.entries(TOOLS).map(([tool, [, key]]) => [key, () => this.take(tool)])),
        "[": () => this.resize(size - Math.max(1, size >> 3)), "]": () => this.resize(size + Math.max(1, size >> 3)),
        l: () => this.pointer && this.labelsAt(this.pointer)[0] && this.correct(this.labelsAt(this.pointer)[0].label),
        s: () => this.save(), t: () => flip("follow"), c: () => this.commit({ mode: "copy" }), k: () => { flip("unknown"); this.find("unknown").dispatchEvent(new Event("change")); },
        ...(this.corners.length && { Enter: () => this.closePolygon(), Escape: () => this.dropPolygon() }),
      }),
    };
    if (typing || event.altKey || event.defaultPrevented || !Object.hasOwn(actions, name)) return super.key(event);
    event.preventDefault();
    actions[name]();
  }
}
