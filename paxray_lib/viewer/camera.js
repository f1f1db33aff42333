/** Zoom and pan of the canvas in its panel; sizes in CSS pixels. */
class Camera {
  constructor(pane, canvas, changed) {
    Object.assign(this, { pane, canvas, changed, scale: 1, x: 0, y: 0, fitted: true });
    new ResizeObserver(() => this.apply()).observe(pane);
  }

  get fit() { return Math.min(this.pane.clientWidth / this.canvas.width, this.pane.clientHeight / this.canvas.height) || 1; }

  reset() { this.fitted = true; this.apply(); }

  zoom(factor, x = this.pane.clientWidth / 2, y = this.pane.clientHeight / 2) {
    const scale = Math.min(MAX_SCALE, this.scale * factor);
    this.fitted = scale <= this.fit;
    this.x = x - (x - this.x) * scale / this.scale;
    this.y = y - (y - this.y) * scale / this.scale;
    this.scale = scale;
    this.apply();
  }

  /** Show a box of pixels: left, top, right, bottom. */
  frame([left, top, right, bottom]) {
    const { clientWidth: width, clientHeight: height } = this.pane;
    this.scale = Math.min(MAX_SCALE, 0.7 * Math.min(width / (right - left), height / (bottom - top)));
    this.fitted = this.scale <= this.fit;
    this.x = width / 2 - this.scale * (left + right) / 2;
    this.y = height / 2 - this.scale * (top + bottom) / 2;
    this.apply();
  }

  pan(dx, dy) { this.x += dx; this.y += dy; this.apply(); }

  apply() {
    const { pane, canvas } = this, width = pane.clientWidth, height = pane.clientHeight;
    if (!width || !canvas.width) return; // not laid out yet, or no image
    if (this.fitted || this.scale < this.fit) this.scale = this.fit;
    const hold = (at, size, room) => size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, at));
    this.x = hold(this.x, canvas.width * this.scale, width);
    this.y = hold(this.y, canvas.height * this.scale, height);
    canvas.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    canvas.style.imageRendering = this.scale >= 2 ? "pixelated" : "auto";
    pane.parentNode.classList.toggle("zoomed", !this.fitted);
    this.changed();
  }

  /** The pixel at a point of the panel, or null. */
  pixel(x, y) {
    const column = Math.floor((x - this.x) / this.scale), row = Math.floor((y - this.y) / this.scale);
    const inside = column >= 0 && row >= 0 && column < this.canvas.width && row < this.canvas.height;
    return inside ? [column, row] : null;
  }

  /** [top, left, height, width] of the pixels that are seen, empty for all. */
  visible() {
    const { canvas, pane, scale } = this;
    const span = (at, room, size) => [Math.max(0, Math.floor(-at / scale + 1e-6)), Math.min(size, Math.ceil((room - at) / scale - 1e-6))];
    const [left, right] = span(this.x, pane.clientWidth, canvas.width);
    const [top, bottom] = span(this.y, pane.clientHeight, canvas.height);
    const all = this.fitted || (right - left === canvas.width && bottom - top === canvas.height);
    return all ? [] : [top, left, bottom - top, right - left];
  }
}
