// Strokes on the image: from the pointer to a record that is applied and handed over.

class Painter extends DoubtViewer {
  // -- strokes

  /** A record of the label that is corrected; see masks/strokes.py. */
  record(fields) {
    return { id: `${MODULE}-${Desk.count = (Desk.count ?? 0) + 1}`, image: this.scene.meta.name, film: this.scene.meta.film, label: this.label, name: this.labels.names[this.label],
      tree: this.find("follow").checked, seconds: Date.now() / 1000, ...fields };
  }

  /** Apply a whole stroke and hand it over. */
  commit(fields) {
    if (!this.scene?.editor || this.stroke) return;
    if (fields.mode === "copy" && this.scene.lacking.has(this.label)) return this.say("The prediction does not have this label.");
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
    put(this.context, this.scene.data, this.scene.drawChange(this.indices(), this.style(), change));
    this.root.dataset.drawn = ++this.draws;
  }

  changed() {
    clearTimeout(this.recount);
    this.recount = setTimeout(() => {
      if (!this.scene) return;
      this.refilter();
      this.updateScene();
      this.readKnown();
    }, 60);
    if (!this.offline) this.askRules();
  }

  /** Ask which rules are broken now, when all strokes have been kept and no other one comes. */
  askRules() {
    clearTimeout(this.rules);
    this.rules = setTimeout(() => {
      if (!this.scene || this.stop.signal.aborted) return;
      if (this.store.pending.size) this.askRules(); else this.model.send({ rules: this.scene.message.index });
    }, 1500);
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

  /** Show an image: if it is the same one as it is now, once an open stroke is finished; before another one the stroke ends. */
  show(scene) {
    const same = scene && this.scene?.message.index === scene.message.index;
    if (same && this.stroke) return; // lift() comes back to it
    this.end();
    super.show(scene);
    if (!same) this.dropPolygon();
    this.readKnown();
    this.status();
    if (scene) this.catchUp(scene.message.index);
  }

  // -- pointer

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
    if (event.type === "dblclick") this.closePolygon();
    if (this.held !== null && event.pointerId !== this.held) return; // a second finger, or a hand beside the pen
    if (event.type === "pointermove") this.move(event);
    else if (event.type === "pointerdown" && !event.button && event.isPrimary) this.press(event);
    else if (["pointerup", "pointercancel", "lostpointercapture"].includes(event.type)) this.lift();
  }

  press(event) {
    const { tool } = this, point = this.place(event);
    event.preventDefault(); // no text is selected; the focus is ours to set
    this.find("stage").focus({ preventScroll: true });
    this.find("stage").setPointerCapture(event.pointerId);
    this.lift(); // what this pointer's end was not heard of
    this.held = event.pointerId;
    if (tool === "fill") this.commit({ mode: "fill", points: [point] });
    else if (tool === "rename") {
      const to = Number(this.find("rename-to").value);
      this.commit({ mode: "rename", points: [point], to, to_name: this.labels.names[to] });
    }
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
    this.held = null;
    this.dragging = false;
    if (!this.stroke) return;
    this.end();
    this.catchUp(this.scene.message.index);
  }

  /** Finish the open stroke, if there is one, and hand it over. */
  end() {
    const { stroke } = this;
    if (!stroke) return;
    const { editor, message: { index } } = this.scene;
    editor.finish();
    this.stroke = null;
    const isLate = (this.store.edits.get(index)?.length ?? 0) >= editor.applied; // another page's stroke came before it
    this.handOver(stroke);
    if (isLate) this.store.again(index);
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
    this.dragging = false;
    this.drawPolygon();
  }
}
