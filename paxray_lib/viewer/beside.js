// Two masks side by side: a second panel with the same zoom, and the pointer's place in the other one.

const TITLE = 21; // pixels, the height of a panel's title

class Beside extends Viewer {
  buildControls() {
    super.buildControls();
    this.second = element("div", "paxray-pane", undefined, { "data-testid": "pane-2" });
    this.secondCanvas = element("canvas", "", undefined, { "data-testid": "canvas-2" });
    this.second.append(this.secondCanvas);
    this.mark = element("div", "paxray-mark", undefined, { "data-testid": "mark", hidden: "" });
    this.under = this.find("pane"); // the panel that the pointer is in
    this.over = "both"; // the mode to go back to
  }

  get isBeside() { return this.scene?.mode(this.model.get("mode")) === "beside"; }

  /** Go to two panels, or back. */
  besides() {
    if (this.isBeside) this.set("mode", this.over);
    else if (this.scene?.modes.includes("beside")) this.set("mode", "beside");
  }

  connect() {
    super.connect();
    const observer = new ResizeObserver(() => this.lay());
    observer.observe(this.find("stage"));
    this.stop.signal.addEventListener("abort", () => observer.disconnect());
  }

  /** Whether the image is larger with one panel above the other; a review speaks of left and right. */
  get isStacked() {
    const { clientWidth, clientHeight } = this.find("stage"), { width, height } = this.scene.meta;
    const fit = (columns, rows) => Math.min(clientWidth / columns / width, (clientHeight / rows - TITLE) / height);
    return !this.model.get("_review")?.decisions && fit(1, 2) > fit(2, 1);
  }

  /** Show as many panels as the mode needs; what was in the middle stays there. */
  lay() {
    const { root, second, camera, isBeside } = this, pane = this.find("pane"), [width, height] = [pane.clientWidth, pane.clientHeight];
    if (!isBeside && this.scene) this.over = this.scene.mode(this.model.get("mode"));
    for (const role of ["target", "prediction"]) this.find(`title-${role}`).textContent = this.find(`mode-${role}`).textContent;
    this.find("stage").classList.toggle("stacked", isBeside && this.isStacked);
    root.classList.toggle("beside", isBeside);
    if (second.isConnected !== isBeside) {
      if (isBeside) pane.after(second); else second.remove();
      this.under = pane;
    }
    const [right, down] = [(pane.clientWidth - width) / 2, (pane.clientHeight - height) / 2];
    if (right || down) camera.pan(right, down);
  }

  show(scene) {
    super.show(scene);
    if (!scene) this.lay();
  }

  draw() {
    this.lay();
    super.draw();
  }

  paint(chosen, style, toggled) {
    super.paint(chosen, style, toggled);
    if (!this.isBeside) return;
    const { scene, secondCanvas: canvas } = this, { width, height } = scene.meta;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const box = scene.other.draw(chosen, { ...style, mode: "prediction" }, toggled);
    if (box) put(canvas.getContext("2d", { alpha: false }), scene.other.data, box);
  }

  pictures() { return this.isBeside ? [...super.pictures(), this.scene.other.data] : super.pictures(); }

  caption() {
    const titles = ["target", "prediction"].map(role => this.find(`title-${role}`).textContent);
    return this.isBeside ? `${super.caption()}: ${titles.join(", ")}` : super.caption();
  }

  // -- the pointer

  /** The panel of an event; while a button is held the one where it was pressed. */
  paneOf(event) {
    const { second } = this, isFree = event.type === "pointerdown" || !event.buttons;
    if (!second.isConnected || !isFree) return this.under;
    const { left, top } = second.getBoundingClientRect();
    return this.under = event.clientX >= left && event.clientY >= top ? second : this.find("pane");
  }

  readout(pixel) {
    super.readout(pixel);
    this.pixel = pixel;
    this.marked();
  }

  /** Mark the pointer's pixel in the panel where it is not. */
  marked() {
    const { mark, pixel, camera } = this, pane = this.find("pane");
    mark.hidden = !pixel || !this.second.isConnected;
    if (mark.hidden) return;
    const other = this.under === pane ? this.second : pane, at = (k, start) => `${start + (pixel[k] + 0.5) * camera.scale}px`;
    if (mark.parentNode !== other) other.append(mark);
    mark.style.left = at(0, camera.x);
    mark.style.top = at(1, camera.y);
  }

  moved() {
    super.moved();
    const { transform, imageRendering } = this.canvas.style;
    Object.assign(this.secondCanvas.style, { transform, imageRendering });
    this.marked();
  }
}
