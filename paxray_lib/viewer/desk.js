// The viewer where masks are corrected: its controls and keys.

class Desk extends Painter {
  buildControls() {
    super.buildControls();
    Object.assign(this, { tool: "point", stroke: null, held: null, corners: [], pointer: null });
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
    listen("again", "click", () => this.again());
    listen("download", "click", () => this.download());
    listen("tree", "click", () => { if (this.tree.active?.index !== undefined) this.correct(this.tree.active.index); });
    const edited = index => { this.catchUp(index); this.status(); this.listBroken(); };
    for (const listeners of [store.listeners, store.editListeners]) {
      listeners.add(edited);
      signal.addEventListener("abort", () => listeners.delete(edited));
    }
    for (const type of ["pointerdown", "pointermove", "pointerup", "pointercancel", "lostpointercapture", "click", "dblclick"])
      stage.addEventListener(type, event => this.stageEvent(event), { signal, capture: true });
    stage.addEventListener("pointerleave", () => { this.find("cursor").hidden = true; }, { signal });
  }

  // -- the label, the tool

  correct(index) { this.find("edit-label").value = index; this.correcting(); }

  correcting() {
    this.readKnown();
    this.dropPolygon();
  }

  readKnown() { this.find("unknown").checked = Boolean(this.scene?.unknown.has(this.label)); }

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

  status() {
    const waiting = this.store.pending.size, made = this.store.edits.get(this.scene?.message.index)?.length ?? 0;
    this.find("kept").textContent = this.offline ? "" : waiting ? `${waiting} not yet kept` : made ? "kept" : "";
    this.find("download").hidden = !this.offline || !made;
    this.find("save").hidden = this.offline || !this.store.folder;
    this.find("save").disabled = !made;
    const refusal = this.store.refusal(this.scene?.message.index), { trouble } = this.store;
    this.find("kept").title = refusal ?? "";
    this.find("again").hidden = !refusal && !trouble;
    if (refusal || trouble) this.say(refusal ? `Not kept: ${refusal}` : trouble);
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

  /** Take the image as it is now, and send what was not kept again. */
  again() {
    this.store.again(this.scene.message.index);
    this.go();
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
