// The integer rules of overlay.py, repeated exactly; nothing here touches the page.

const TRUE_POSITIVE = [0, 158, 115], FALSE_POSITIVE = [230, 159, 0],
  FALSE_NEGATIVE = [86, 180, 233];
const VERDICTS = { "true positive": TRUE_POSITIVE, "false positive": FALSE_POSITIVE, "false negative": FALSE_NEGATIVE };
const DASH = 4; // pixels

/** Rule 1: the table of shown gray values. */
function windowTable([low, high]) {
  return Uint8Array.from({ length: 256 }, (_, gray) => {
    const inside = Math.min(Math.max(gray - low, 0), high - low);
    return Math.floor((inside * 255 + ((high - low) >> 1)) / (high - low));
  });
}

/** [low, high] that leave out the darkest and the brightest hundredth of the gray values. */
function autoWindow(planes) {
  const counts = new Uint32Array(256);
  for (const gray of planes) counts[gray]++;
  const first = part => { // the first gray up to which there is more than that part
    let gray = 0;
    for (let sum = counts[0]; gray < 255 && sum <= part * planes.length; sum += counts[gray]) gray++;
    return gray;
  };
  const low = Math.min(254, first(0.01));
  return [low, Math.max(low + 1, first(0.99))];
}

/** Rule 2 for each set: the mean color as 0xRRGGBB, or -1 where none of the chosen labels is in it. */
function meanColors(sets, chosen, colors) {
  const mean = new Int32Array(sets.count);
  for (let k = 0; k < sets.count; k++) {
    let n = 0, r = 0, g = 0, b = 0;
    for (let w = 0, at = k * sets.words; w < sets.words; w++, at++) {
      let bits = sets.data[at] & chosen[w];
      while (bits) {
        const low = bits & -bits, color = colors[w * 32 + 31 - Math.clz32(low)];
        bits ^= low;
        n++; r += color[0]; g += color[1]; b += color[2];
      }
    }
    mean[k] = n ? pack(n, r, g, b) : -1;
  }
  return mean;
}

function pack(n, r, g, b) {
  const half = n >> 1;
  return (((r + half) / n | 0) << 16) | (((g + half) / n | 0) << 8) | ((b + half) / n | 0);
}

/** Rules 5 and 2 for each pair of sets. */
function differenceColors(pair, chosen) {
  const mean = new Int32Array(pair.first.length), a = pair.target.sets, b = pair.prediction.sets;
  for (let k = 0; k < mean.length; k++) {
    let tp = 0, fp = 0, fn = 0;
    for (let w = 0; w < a.words; w++) {
      const truth = a.data[pair.first[k] * a.words + w] & chosen[w];
      const found = b.data[pair.second[k] * b.words + w] & chosen[w];
      tp += bitCount(truth & found);
      fp += bitCount(found & ~truth);
      fn += bitCount(truth & ~found);
    }
    const sum = c => tp * TRUE_POSITIVE[c] + fp * FALSE_POSITIVE[c] + fn * FALSE_NEGATIVE[c], n = tp + fp + fn;
    mean[k] = n ? pack(n, sum(0), sum(1), sum(2)) : -1;
  }
  return mean;
}

function bitCount(bits) {
  bits -= (bits >>> 1) & 0x55555555;
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** One image with its masks, drawn into `pixels`, an ImageData's 32-bit words. */
class Scene {
  constructor(meta, parts, labelCount, colors) {
    const { width, height } = meta;
    this.meta = meta;
    this.colors = colors;
    this.labelCount = labelCount;
    this.unknown = new Set(meta.unknown); // labels that the target does not annotate
    this.lacking = new Set(meta.lacking); // labels that the prediction does not have
    this.planes = undoPrediction(parts.image, width, height);
    for (const role of ["target", "prediction"])
      this[role] = parts[role] ? new MaskStack(parts[role], meta.sets[role], labelCount, width, height) : null;
    Object.assign(this, this.blank(), { pairFound: null, otherMade: null });
  }

  get pair() {
    if (!this.pairFound && this.target && this.prediction) this.pairFound = new StackPair(this.target, this.prediction);
    return this.pairFound;
  }

  /** Why a label cannot be compared; "" if it can. */
  lack(label) { return this.unknown.has(label) ? "not annotated" : this.lacking.has(label) ? "not predicted" : ""; }

  /** [IoU, Dice] of a label; NaN where it is in neither mask, or cannot be compared. */
  scores(label) { return this.lack(label) ? [NaN, NaN] : this.pair.scores(label); }

  /** The modes that its masks allow. */
  get modes() {
    const compared = this.target && this.prediction ? ["both", "beside", "difference"] : [];
    return [this.target && "target", this.prediction && "prediction", ...compared, this.heat && "probability"].filter(Boolean);
  }

  /** `mode`, or the one there is where masks are missing. */
  mode(mode) { return this.modes.includes(mode) ? mode : this.modes[0] ?? "target"; }

  /** The same scene with pixels of its own, for a second panel. */
  get other() { return this.otherMade ??= Object.assign(Object.create(this), this.blank()); }

  blank() {
    const data = new ImageData(this.meta.width, this.meta.height);
    return { data, pixels: new Uint32Array(data.data.buffer) };
  }

  /** The box in which labels can be drawn, null if they are nowhere. */
  boxOf(labels) {
    let box = null;
    for (const stack of [this.target, this.prediction])
      if (stack) for (const label of labels) box = joinBoxes(box, stack.box[label]);
    return box;
  }

  /** The words of a set of labels, as LabelSets has them. */
  wordsOf(labels) {
    const words = new Uint32Array(Math.ceil(this.labelCount / 32));
    for (const label of labels) words[label >> 5] |= 1 << (label & 31);
    return words;
  }

  /**
   * Draw the chosen labels, or, given those that were toggled since the last time, only where these are.
   * Returns the box (left, top, right, bottom) that may have changed, null if there is none.
   */
  draw(labels, style, toggled = null) {
    const box = toggled ? this.boxOf(toggled) : [0, 0, this.meta.width, this.meta.height];
    if (box) this.drawBox(this.wordsOf(labels), style, box, toggled && this.wordsOf(toggled));
    return box;
  }

  /** Draw what a stroke changed in a box; return the larger box that may look different. */
  drawChange(labels, style, [left, top, right, bottom]) {
    const size = Math.max(1, style.outline), { width, height } = this.meta;
    const box = [Math.max(0, left - size), Math.max(0, top - size), Math.min(width, right + size), Math.min(height, bottom + size)];
    this.drawBox(this.wordsOf(labels), style, box, null, true);
    return box;
  }

  drawBox(chosen, style, box, toggled, changed = false) {
    const mode = this.mode(style.mode);
    if (mode === "probability") return void this.heat.draw(style);
    if (mode === "difference") {
      const unknown = this.wordsOf([...this.unknown, ...this.lacking]), known = chosen.map((word, w) => word & ~unknown[w]);
      this.fill(this.pair.ids, differenceColors(this.pair, known), style, box);
      return;
    }
    const filled = mode === "prediction" ? this.prediction : this.target;
    const lined = mode === "both" ? this.prediction : filled;
    const size = mode === "both" ? Math.max(1, style.outline) : style.outline;
    const find = () => changed && lined === this.target ? lined.findOutline(size, box) : lined.outline(size);
    const outline = size && lined ? find() : null; // before the colors: it may add sets
    const mean = filled ? meanColors(filled.sets, chosen, this.colors) : [-1];
    this.fill(filled?.ids, mean, style, box, toggled && lined === filled ? filled?.sets.touched(toggled) : null);
    if (outline) this.line(outline, lined === filled ? mean : meanColors(lined.sets, chosen, this.colors), style.dashed, box);
  }

  /** Rules 1 and 3; pixels whose set is not `touched` stay as they are. */
  fill(ids, mean, { alpha, window }, [left, top, right, bottom], touched = null) {
    const { planes, pixels } = this, { width, height, channels } = this.meta;
    const second = channels === 3 ? width * height : 0, third = 2 * second;
    const shown = windowTable(window), rest = 255 - alpha;
    const red = new Int32Array(mean.length), green = new Int32Array(mean.length), blue = new Int32Array(mean.length);
    for (let k = 0; k < mean.length; k++) {
      red[k] = (mean[k] >> 16 & 255) * alpha + 127;
      green[k] = (mean[k] >> 8 & 255) * alpha + 127;
      blue[k] = (mean[k] & 255) * alpha + 127;
    }
    const row = (i, end) => { // a function, so that engines compile it after a few rows
      for (; i < end; i++) {
        const id = ids ? ids[i] : 0;
        if (touched && !touched[id]) continue;
        let r = shown[planes[i]], g = shown[planes[i + second]], b = shown[planes[i + third]];
        if (mean[id] >= 0) {
          r = r * rest + red[id]; r = (r + 1 + (r >> 8)) >> 8; // r / 255, exact below 65535
          g = g * rest + green[id]; g = (g + 1 + (g >> 8)) >> 8;
          b = b * rest + blue[id]; b = (b + 1 + (b >> 8)) >> 8;
        }
        pixels[i] = 0xff000000 | b << 16 | g << 8 | r;
      }
    };
    for (let y = top; y < bottom; y++) row(y * width + left, y * width + right);
  }

  /** Rule 4. */
  line(outline, mean, dashed, [, top, , bottom]) {
    const { pixels } = this, { width } = this.meta;
    const words = Uint32Array.from(mean, c => 0xff000000 | (c & 255) << 16 | (c & 0xff00) | c >> 16 & 255);
    for (let k = outline.rows[top - outline.top]; k < outline.rows[bottom - outline.top]; k++) {
      const id = outline.ids[k];
      if (mean[id] < 0) continue;
      const i = outline.pixels[k];
      if (dashed && Math.floor((i % width + 2 * Math.floor(i / width)) / DASH) % 2) continue;
      pixels[i] = words[id];
    }
  }
}
