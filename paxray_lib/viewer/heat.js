// The integer rules of viz/heat.py, repeated exactly; nothing here touches the page.

const HEAT_STOPS = [[13, 8, 135], [126, 3, 168], [204, 71, 120], [248, 149, 64], [240, 249, 33]];
const HEAT_THRESHOLD = [255, 255, 255], HEAT_TARGET = [0, 255, 255], HEAT_ONE = 255 * 65536, HEAT_LEAST = 3;

/** Rule 2: the color of each probability of 0..255, as 0xRRGGBB. */
const HEAT_COLORS = Int32Array.from({ length: 256 }, (_, p) => {
  const at = p * (HEAT_STOPS.length - 1), below = Math.min(Math.floor(at / 255), HEAT_STOPS.length - 2), part = at - 255 * below;
  const [r, g, b] = [0, 1, 2].map(c => Math.floor((HEAT_STOPS[below][c] * (255 - part) + HEAT_STOPS[below + 1][c] * part + 127) / 255));
  return r << 16 | g << 8 | b;
});

const heatColor = p => [HEAT_COLORS[p] >> 16, HEAT_COLORS[p] >> 8 & 255, HEAT_COLORS[p] & 255];

/** Rule 1 along one axis: the value before each of `length` pixels, the one after it, and the weight of that. */
function heatAxis(count, length) {
  const low = new Int32Array(length), high = new Int32Array(length), weight = new Int32Array(length);
  for (let i = 0; i < length; i++) {
    const at = Math.max(0, Math.min(2 * length * (count - 1), (2 * i + 1) * count - length));
    low[i] = Math.floor(at / (2 * length));
    high[i] = Math.min(low[i] + 1, count - 1);
    weight[i] = Math.floor((at % (2 * length)) * 256 / (2 * length));
  }
  return { low, high, weight };
}

/** Rule 1: a (height, width) plane at a place of `planes`, enlarged. */
function enlargePlane(planes, start, [height, width], toHeight, toWidth) {
  const values = new Int32Array(toHeight * toWidth), row = new Int32Array(width);
  const down = heatAxis(height, toHeight), { low, high, weight } = heatAxis(width, toWidth);
  for (let y = 0, i = 0; y < toHeight; y++) {
    const upper = start + down.low[y] * width, lower = start + down.high[y] * width, part = down.weight[y];
    for (let x = 0; x < width; x++) row[x] = planes[upper + x] * (256 - part) + planes[lower + x] * part;
    for (let x = 0; x < toWidth; x++, i++) values[i] = row[low[x]] * (256 - weight[x]) + row[high[x]] * weight[x];
  }
  return values;
}

/** Inner boundaries of a mask in the form of MaskStack.outline, of the one set 0. */
function maskOutline(mask, width, height, size) {
  let core = mask;
  for (let step = 0; step < size; step++) {
    const inner = new Uint8Array(core.length);
    for (let y = 1; y < height - 1; y++)
      for (let x = 1, i = y * width + 1; x < width - 1; x++, i++)
        inner[i] = core[i] & core[i - 1] & core[i + 1] & core[i - width] & core[i + width];
    core = inner;
  }
  const pixels = [], rows = new Int32Array(height + 1);
  for (let y = 0, i = 0; y < height; y++) {
    rows[y] = pixels.length;
    for (let x = 0; x < width; x++, i++) if (mask[i] && !core[i]) pixels.push(i);
  }
  rows[height] = pixels.length;
  return { pixels: Int32Array.from(pixels), ids: new Int32Array(pixels.length), rows, top: 0 };
}

/** The probabilities of some labels of one scene. */
class Heat {
  constructor({ names, size }, bytes, scene) {
    Object.assign(this, { names, size, scene, planes: undoPrediction(bytes, size[1], size[0]), at: -1 });
  }

  /** The place of a label's plane, the first one for a label without. */
  place(name) { return Math.max(0, this.names.indexOf(name)); }

  /** Enlarge a plane to the scene's size, unless it is there already. */
  enlarge(name) {
    const at = this.place(name), { width, height } = this.scene.meta;
    if (at === this.at) return;
    this.at = at;
    this.values = enlargePlane(this.planes, at * this.size[0] * this.size[1], this.size, height, width);
    this.shown = Uint8Array.from(this.values, v => v + 32768 >> 16);
  }

  /** Rule 3: a byte per pixel of the label that is shown, 1 where it is. */
  found(threshold) {
    const cut = Math.floor(Math.round(100 * threshold) * HEAT_ONE / 100), mask = new Uint8Array(this.values.length);
    for (let i = 0; i < mask.length; i++) mask[i] = this.values[i] > cut ? 1 : 0;
    return mask;
  }

  /** The same of its true mask; null where nothing tells. */
  truth(label) {
    const { target, unknown } = this.scene;
    if (!target || unknown.has(label)) return null;
    const words = this.scene.wordsOf([label]), has = target.sets.touched(words), { ids } = target;
    const mask = new Uint8Array(ids.length);
    for (let i = 0; i < mask.length; i++) mask[i] = has[ids[i]];
    return mask;
  }

  /** Draw the heat map, and count: [pixels of the label, of the truth, of both]. */
  draw({ heat: { name, label, threshold }, ...style }) {
    const { scene } = this, { width, height } = scene.meta, box = [0, 0, width, height];
    this.enlarge(name);
    const found = this.found(threshold), truth = this.truth(label), mean = HEAT_COLORS.slice();
    mean.fill(-1, 0, HEAT_LEAST);
    scene.fill(this.shown, mean, style, box);
    for (const [mask, [r, g, b]] of [[truth, HEAT_TARGET], [found, HEAT_THRESHOLD]])
      if (mask) scene.line(maskOutline(mask, width, height, Math.max(1, style.outline)), [r << 16 | g << 8 | b], style.dashed, box);
    const counts = [0, 0, 0];
    for (let i = 0; i < found.length; i++) {
      counts[0] += found[i];
      if (truth) { counts[1] += truth[i]; counts[2] += truth[i] & found[i]; }
    }
    this.counts = counts;
    this.hasTruth = Boolean(truth);
  }

  /** [IoU, Dice] of what was drawn last; NaN where it is in neither mask. */
  scores() {
    const [a, b, both] = this.counts;
    return this.hasTruth ? [both / (a + b - both), 2 * both / (a + b)] : null;
  }
}
