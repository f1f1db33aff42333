// Unpacking what the kernel sends, and sets of labels; nothing here touches the page.
//
// Masks arrive as the table of distinct label sets (packed bits, row 0 is the empty set) and one
// table row per pixel. A 512 x 512 image with 166 labels has some 1500 distinct sets, so that a
// toggle mixes 1500 colors, not 262144.

async function inflate(bytes) {
  const { readable, writable } = new DecompressionStream("deflate"), writer = writable.getWriter();
  const result = new Response(readable).arrayBuffer();
  await Promise.all([writer.write(bytes), writer.close()]);
  return new Uint8Array(await result);
}

/** Undo the prediction of each (height, width) plane from its left, upper and upper left neighbor, in place. */
function undoPrediction(planes, width, height) {
  for (let start = 0; start < planes.length; start += width * height) {
    let i = start;
    for (let y = 0; y < height; y++) {
      let left = 0, upperLeft = 0;
      for (let x = 0; x < width; x++, i++) {
        const up = y ? planes[i - width] : 0;
        const low = left < up ? left : up, high = left < up ? up : left;
        const guess = left + up - upperLeft;
        planes[i] += guess < low ? low : guess > high ? high : guess;
        left = planes[i];
        upperLeft = up;
      }
    }
  }
  return planes;
}

/** Distinct sets of labels, each `words` 32-bit words; set 0 is empty. */
class LabelSets {
  constructor(bytes, byteCount) {
    this.words = Math.ceil(byteCount / 4);
    this.count = bytes.length / byteCount;
    this.data = new Uint32Array(this.count * this.words);
    for (let k = 0; k < this.count; k++)
      for (let b = 0; b < byteCount; b++)
        this.data[k * this.words + (b >> 2)] |= bytes[k * byteCount + b] << (8 * (b & 3));
    this.memo = { both: [], without: [] };
    this.known = null;
    this.earlier = [];
    this.scratch = new Uint32Array(this.words);
  }

  /** Return for each set whether it has a label of the given words: 1 or 0. */
  touched(words) {
    const found = new Uint8Array(this.count);
    for (let k = 0; k < this.count; k++)
      for (let w = 0; w < this.words; w++) if (this.data[k * this.words + w] & words[w]) found[k] = 1;
    return found;
  }

  has(set, label) { return (this.data[set * this.words + (label >> 5)] >>> (label & 31)) & 1; }

  list(set) {
    const labels = [];
    this.each(set, null, label => labels.push(label));
    return labels;
  }

  /** Call `visit` with each label of a set, or of what it shares with the `within` words. */
  each(set, within, visit) {
    for (let w = 0; w < this.words; w++) {
      let bits = this.data[set * this.words + w];
      if (within) bits &= within[w];
      while (bits) {
        const low = bits & -bits;
        visit(w * 32 + 31 - Math.clz32(low));
        bits ^= low;
      }
    }
  }

  /** Return the set of the labels that are in a and in b. */
  both(a, b) { return a && b ? this.combine(a, b, this.memo.both, false) : 0; }

  /** Return the set of the labels that are in a and not in b. */
  without(a, b) { return a && b ? this.combine(a, b, this.memo.without, true) : a; }

  combine(a, b, memo, invert) {
    const row = memo[a] ??= new Map();
    let found = row.get(b);
    if (found === undefined) {
      const bits = this.scratch;
      for (let w = 0; w < this.words; w++) {
        const other = this.data[b * this.words + w];
        bits[w] = this.data[a * this.words + w] & (invert ? ~other : other);
      }
      row.set(b, found = this.intern(bits));
    }
    return found;
  }

  /** Return the number of the set with these words, a new one if need be. */
  intern(bits) {
    if (!this.known) {
      this.known = new Map(); // hash to the last set that has it; `earlier` leads to those before
      for (let k = 0; k < this.count; k++) this.remember(k);
    }
    let same = this.known.get(this.hash(bits, 0));
    while (same !== undefined && !this.equals(same, bits)) same = this.earlier[same];
    if (same !== undefined) return same;
    if ((this.count + 1) * this.words > this.data.length) {
      const larger = new Uint32Array(this.data.length * 2);
      larger.set(this.data);
      this.data = larger;
    }
    this.data.set(bits, this.count * this.words);
    this.remember(this.count);
    return this.count++;
  }

  remember(set) {
    const hash = this.hash(this.data, set * this.words);
    this.earlier[set] = this.known.get(hash);
    this.known.set(hash, set);
  }

  hash(data, start) {
    let hash = 0;
    for (let w = start; w < start + this.words; w++) hash = Math.imul(hash ^ data[w], 0x9e3779b1) ^ (hash >>> 15);
    return hash;
  }

  equals(set, bits) {
    for (let w = 0; w < this.words; w++) if (this.data[set * this.words + w] !== bits[w]) return false;
    return true;
  }
}

/** The masks of one image: `ids[y * width + x]` is the set of labels there. */
class MaskStack {
  constructor(bytes, setCount, labelCount, width, height) {
    const byteCount = Math.ceil(labelCount / 8), table = setCount * byteCount;
    const idBytes = bytes.slice(table).buffer; // a copy starts at a multiple of 4
    this.sets = new LabelSets(bytes.subarray(0, table), byteCount);
    this.ids = setCount <= 65536 ? new Uint16Array(idBytes) : new Uint32Array(idBytes);
    this.labelCount = labelCount;
    this.width = width;
    this.height = height;
    this.outlines = new Map();
    this.measure(setCount);
  }

  /** Find the area of each label and its box: first and last column and row. */
  measure(setCount) {
    const { ids, width, height, labelCount } = this;
    const area = new Uint32Array(setCount), none = 1 << 30;
    const left = new Int32Array(setCount).fill(none), right = new Int32Array(setCount).fill(-1);
    const top = new Int32Array(setCount).fill(none), bottom = new Int32Array(setCount).fill(-1);
    for (let y = 0, i = 0; y < height; y++)
      for (let x = 0; x < width;) {
        const id = ids[i], start = x;
        do { x++; i++; } while (x < width && ids[i] === id);
        area[id] += x - start;
        if (start < left[id]) left[id] = start;
        if (x - 1 > right[id]) right[id] = x - 1;
        if (top[id] === none) top[id] = y;
        bottom[id] = y;
      }
    this.area = new Float64Array(labelCount);
    this.box = Array.from({ length: labelCount }, () => null);
    for (let id = 1; id < setCount; id++)
      this.sets.each(id, null, label => {
        this.area[label] += area[id];
        this.box[label] = joinBoxes(this.box[label], [left[id], top[id], right[id] + 1, bottom[id] + 1]);
      });
  }

  /** Return the pixels on inner boundaries of the given width, row by row, with the set of labels that end there. */
  outline(size) {
    if (!this.outlines.has(size)) this.outlines.set(size, this.findOutline(size, [0, 0, this.width, this.height]));
    return this.outlines.get(size);
  }

  /** Find the outline within a box; `rows[k]` is where its row `top + k` begins. */
  findOutline(size, [left, top, right, bottom]) {
    const { ids, sets, width, height } = this;
    // what lies further away than `size` does not matter; nothing is marked outside the image
    const x0 = Math.max(0, left - size), y0 = Math.max(0, top - size);
    const w = Math.min(width, right + size) - x0, h = Math.min(height, bottom + size) - y0;
    let core = new Uint32Array(w * h);
    for (let y = 0; y < h; y++) core.set(ids.subarray((y0 + y) * width + x0, (y0 + y) * width + x0 + w), y * w);
    for (let step = 1; step < size; step++) {
      const inner = new Uint32Array(core.length);
      for (let y = 0, i = 0; y < h; y++) for (let x = 0; x < w; x++, i++) inner[i] = this.eroded(core, i, x, y, w, h);
      core = inner;
    }
    const pixels = [], ends = [], rows = new Int32Array(bottom - top + 1);
    for (let y = top; y < bottom; y++) {
      rows[y - top] = pixels.length;
      for (let x = left, i = y * width + left, k = (y - y0) * w + left - x0; x < right; x++, i++, k++) {
        const id = ids[i];
        if (!id) continue;
        const kept = this.eroded(core, k, x - x0, y - y0, w, h);
        if (kept !== id) {
          pixels.push(i);
          ends.push(sets.without(id, kept));
        }
      }
    }
    rows[bottom - top] = pixels.length;
    return { pixels: Int32Array.from(pixels), ids: Int32Array.from(ends), rows, top };
  }

  /** Bring the outlines that were found up to date where pixels changed within a box. */
  refreshOutlines(box) {
    for (const [size, old] of box ? this.outlines : []) {
      const top = Math.max(0, box[1] - size), bottom = Math.min(this.height, box[3] + size);
      const found = this.findOutline(size, [0, top, this.width, bottom]), start = old.rows[top], end = old.rows[bottom];
      const join = name => {
        const joined = new Int32Array(old[name].length - (end - start) + found[name].length);
        joined.set(old[name].subarray(0, start));
        joined.set(found[name], start);
        joined.set(old[name].subarray(end), start + found[name].length);
        return joined;
      };
      const more = found.pixels.length - (end - start);
      const rows = old.rows.map((at, y) => y < top ? at : y <= bottom ? start + found.rows[y - top] : at + more);
      this.outlines.set(size, { pixels: join("pixels"), ids: join("ids"), rows, top: 0 });
    }
  }

  /** Return the set of a pixel of a (h, w) block after one erosion. */
  eroded(core, i, x, y, w, h) {
    const { sets } = this, id = core[i];
    if (!x || !y || x === w - 1 || y === h - 1) return 0;
    const up = core[i - w], down = core[i + w], left = core[i - 1], right = core[i + 1];
    if (up === id && down === id && left === id && right === id) return id;
    return sets.both(sets.both(sets.both(sets.both(id, up), down), left), right);
  }
}

/** Target and prediction together: `ids` numbers the distinct pairs of their sets. */
class StackPair {
  constructor(target, prediction) {
    const ids = new Uint32Array(target.ids.length), first = [], second = [], sizes = [];
    Object.assign(this, { target, prediction, ids, first, second, numbers: new Map() });
    let a = -1, b = -1, number = 0;
    for (let i = 0; i < ids.length; i++) {
      if (target.ids[i] !== a || prediction.ids[i] !== b) number = this.number(a = target.ids[i], b = prediction.ids[i]);
      ids[i] = number;
      sizes[number] = (sizes[number] ?? 0) + 1;
    }
    this.shared = new Float64Array(target.labelCount); // pixels of each label in both
    const bits = new Uint32Array(target.sets.words);
    for (let k = 0; k < first.length; k++) {
      for (let w = 0; w < bits.length; w++) bits[w] = prediction.sets.data[second[k] * bits.length + w];
      target.sets.each(first[k], bits, label => { this.shared[label] += sizes[k]; });
    }
  }

  /** Return the number of a pair of sets, a new one if need be. */
  number(a, b) {
    const key = a * 2 ** 26 + b;
    let number = this.numbers.get(key);
    if (number === undefined) {
      this.numbers.set(key, number = this.first.length);
      this.first.push(a);
      this.second.push(b);
    }
    return number;
  }

  /** Return [IoU, Dice] of a label; NaN where it is in neither. */
  scores(label) {
    const sum = this.target.area[label] + this.prediction.area[label], both = this.shared[label];
    return [both / (sum - both), 2 * both / sum];
  }
}

function joinBoxes(a, b) {
  if (!a || !b) return a || b;
  return [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])];
}
