// Correcting masks by strokes: the rules of masks/strokes.py, repeated exactly; nothing here touches the page.

const UNIT = 16, MAX_SIZE = 4096, MAX_UNDO = 100;

/** All wholes, or all parts, of a label: its relatives, their relatives, and so on. */
function relatives(direct, label, found = new Set()) {
  for (const one of direct[label])
    if (!found.has(one)) {
      found.add(one);
      relatives(direct, one, found);
    }
  return found;
}

/** Rule 1: call `visit` with each pixel that the brush covers from one point to the next. */
function coverBrush([px, py], [qx, qy], size, width, height, visit) {
  const span = (a, b, count) => [Math.min(a, b) - size, Math.max(a, b) + size + 2 * UNIT].map(at =>
    Math.max(0, Math.min(count, Math.floor(at / UNIT))));
  const [left, right] = span(px, qx, width), [top, bottom] = span(py, qy, height);
  const dx = qx - px, dy = qy - py, length = dx * dx + dy * dy, most = size * size;
  for (let row = top; row < bottom; row++)
    for (let column = left; column < right; column++) {
      const x = UNIT * column + UNIT / 2 - px, y = UNIT * row + UNIT / 2 - py, along = x * dx + y * dy;
      let near;
      if (along <= 0) near = 4 * (x * x + y * y) <= most;
      else if (along >= length) near = 4 * ((x - dx) * (x - dx) + (y - dy) * (y - dy)) <= most;
      else {
        const cross = x * dy - y * dx;
        near = 4 * cross * cross <= most * length;
      }
      if (near) visit(row * width + column);
    }
}

/** Rule 2: call `visit` with each pixel inside a closed polygon. */
function coverPolygon(points, width, height, visit) {
  const rows = points.map(([, y]) => y), limit = at => Math.max(0, Math.min(height, Math.floor(at / UNIT) + 1));
  for (let row = limit(Math.min(...rows) - 2 * UNIT), bottom = limit(Math.max(...rows)); row < bottom; row++) {
    const y = UNIT * row + UNIT / 2, before = [];
    points.forEach(([ax, ay], k) => {
      const [bx, by] = points[(k + 1) % points.length];
      if ((ay <= y) === (by <= y)) return;
      const [px, py, qx, qy] = ay <= by ? [ax, ay, bx, by] : [bx, by, ax, ay], down = qy - py;
      const across = px * down + (y - py) * (qx - px);
      before.push(Math.max(0, Math.min(width, Math.ceil((across - UNIT / 2 * down) / (UNIT * down)))));
    });
    before.sort((a, b) => a - b); // as many as are even: an odd number lies right of the pixels between two
    for (let k = 0; k < before.length; k += 2)
      for (let column = before[k]; column < before[k + 1]; column++) visit(row * width + column);
  }
}

/** Rules 3 and 4: the pixels connected to one, by sides, or by corners too; null if there are none. */
function connected([x, y], width, height, fits, corners) {
  const column = Math.floor(x / UNIT), row = Math.floor(y / UNIT);
  if (column < 0 || row < 0 || column >= width || row >= height || !fits(row * width + column)) return null;
  const seen = new Uint8Array(width * height), found = [row * width + column];
  seen[found[0]] = 1;
  let atBorder = false;
  for (let k = 0; k < found.length; k++) {
    const i = found[k], c = i % width, r = (i - c) / width;
    if (!c || !r || c === width - 1 || r === height - 1) atBorder = true;
    for (let down = -1; down <= 1; down++)
      for (let across = -1; across <= 1; across++) {
        const other = i + down * width + across, inside = c + across >= 0 && c + across < width && r + down >= 0 && r + down < height;
        if ((!corners && down && across) || !inside || seen[other] || !fits(other)) continue;
        seen[other] = 1;
        found.push(other);
      }
  }
  return { pixels: found, atBorder };
}

/** The target of a scene, changed by strokes, with undo. Boxes are [left, top, right, bottom], null for nothing. */
class MaskEditor {
  constructor(scene, parents) {
    const children = parents.map(() => []), { target } = scene;
    parents.forEach((wholes, part) => wholes.forEach(whole => children[whole].push(part)));
    target.ids = Uint32Array.from(target.ids); // there may be more sets than before
    Object.assign(this, { scene, parents, children, target, done: [], undone: [], open: null, applied: 0 });
    Object.assign(this, { width: target.width, height: target.height, seen: new Uint8Array(target.ids.length) });
  }

  /** Apply a whole record; return the box of what it changed. */
  apply(record) {
    if (record.mode === "undo" || record.mode === "redo") {
      this.applied++;
      return record.mode === "undo" ? this.step(this.done, this.undone, "before") : this.step(this.undone, this.done, "after");
    }
    this.begin(record);
    const box = this.extend(0);
    this.finish();
    return box;
  }

  /** Start a stroke; points may be added to its record until it is finished. */
  begin(record) {
    const { unknown } = this.scene;
    this.open = { record, pixels: [], before: [], after: [], covered: [], box: null, unknown: new Set(unknown), maps: new Map() };
    this.undone = [];
    this.counts = new Map();
    this.plan = this.planOf(record);
  }

  /** Apply the points of the open stroke from number `from` on; return the box of what that changed. */
  extend(from) {
    const { record } = this.open, { mode, label, points } = record, { width, height, scene } = this;
    const visit = i => this.visit(i), has = i => this.target.sets.has(this.target.ids[i], label);
    this.box = null;
    if (mode === "known") {
      if (!record.value) this.everywhere(visit);
      if (record.value) scene.unknown.delete(label); else scene.unknown.add(label);
    } else if (this.plan && mode === "fill") {
      const hole = connected(points[0], width, height, i => !has(i), false);
      if (hole && !hole.atBorder) hole.pixels.forEach(visit);
    } else if (this.plan && mode === "rename") connected(points[0], width, height, has, true)?.pixels.forEach(visit);
    else if (this.plan && mode === "copy") { if (scene.prediction) this.everywhere(visit); }
    else if (this.plan && record.shape === "polygon") coverPolygon(points, width, height, visit);
    else if (this.plan) {
      if (points.length === 1) coverBrush(points[0], points[0], record.size, width, height, visit);
      for (let k = Math.max(1, from); k < points.length; k++) coverBrush(points[k - 1], points[k], record.size, width, height, visit);
    }
    return this.settle();
  }

  finish() {
    const { pixels, before, after, covered, box, unknown } = this.open;
    for (const i of covered) this.seen[i] = 0;
    this.done.push({ pixels, before, after, box, unknown: { before: unknown, after: new Set(this.scene.unknown) } });
    this.done = this.done.slice(-MAX_UNDO);
    this.open = null;
    this.applied++;
    this.target.refreshOutlines(box);
  }

  /** Undo or redo: put the pixels of the last step of a list to what they were, and move it to the other list. */
  step(from, to, when) {
    const step = from.pop();
    if (!step) return null;
    to.push(step);
    this.done = this.done.slice(-MAX_UNDO);
    this.counts = new Map();
    this.box = null;
    step.pixels.forEach((i, k) => this.put(i, step[when][k]));
    this.scene.unknown.clear();
    for (const label of step.unknown[when]) this.scene.unknown.add(label);
    const box = this.settle();
    this.target.refreshOutlines(box);
    return box;
  }

  everywhere(visit) { for (let i = 0; i < this.seen.length; i++) visit(i); }

  visit(i) {
    if (this.seen[i]) return;
    const { covered, pixels, before, after, maps, record } = this.open, { target, scene } = this, id = target.ids[i];
    this.seen[i] = 1;
    covered.push(i);
    const taken = record.mode === "copy" && !scene.prediction.sets.has(scene.prediction.ids[i], record.label);
    const key = 2 * id + taken;
    let changed = maps.get(key);
    if (changed === undefined) {
      const bits = target.sets.data.slice(id * target.sets.words, (id + 1) * target.sets.words);
      this.plan(bits, taken);
      maps.set(key, changed = target.sets.intern(bits));
    }
    if (changed === id) return;
    pixels.push(i);
    before.push(id);
    after.push(changed);
    this.put(i, changed);
  }

  put(i, id) {
    const { target, scene, width } = this, pair = scene.pairFound, column = i % width, row = (i - column) / width;
    const found = scene.prediction?.ids[i] ?? 0, key = (target.ids[i] * 2 ** 26 + id), box = this.box;
    const rest = this.counts.get(key) ?? this.counts.set(key, new Map()).get(key);
    rest.set(found, (rest.get(found) ?? 0) + 1);
    target.ids[i] = id;
    if (pair) pair.ids[i] = pair.number(id, found);
    if (!box) this.box = [column, row, column + 1, row + 1];
    else {
      if (column < box[0]) box[0] = column;
      if (row < box[1]) box[1] = row;
      if (column >= box[2]) box[2] = column + 1;
      if (row >= box[3]) box[3] = row + 1;
    }
  }

  /** Bring areas, boxes and scores up to date with the pixels that were put; return their box. */
  settle() {
    const { target, scene, box } = this, { sets } = target, pair = scene.pairFound;
    for (const [key, rest] of this.counts) {
      const old = Math.floor(key / 2 ** 26), now = key % 2 ** 26;
      for (const [found, count] of rest)
        for (const [one, other, sign] of [[old, now, -1], [now, old, 1]])
          sets.each(one, null, label => {
            if (sets.has(other, label)) return;
            target.area[label] += sign * count;
            if (sign > 0) target.box[label] = joinBoxes(target.box[label], box);
            if (pair && scene.prediction.sets.has(found, label)) pair.shared[label] += sign * count;
          });
    }
    this.counts = new Map();
    if (this.open) this.open.box = joinBoxes(this.open.box, box);
    return box;
  }

  /** A function that changes the words of a set of labels as a stroke does; null for a label that is not known. */
  planOf({ mode, label, tree, to }) {
    const { scene, parents, children } = this;
    const known = labels => scene.wordsOf([...labels].filter(i => !scene.unknown.has(i)));
    const wholes = i => tree ? relatives(parents, i) : new Set(), parts = i => tree ? relatives(children, i) : new Set();
    const add = (bits, words) => words.forEach((word, w) => { bits[w] |= word; });
    const erase = (bits, words) => words.forEach((word, w) => { bits[w] &= ~word; });
    if (mode === "known") return bits => erase(bits, scene.wordsOf([label]));
    if (scene.unknown.has(label)) return null;
    const added = known([label, ...wholes(label)]), erased = known([label, ...parts(label)]);
    if (mode === "copy") return (bits, taken) => taken ? erase(bits, erased) : add(bits, added);
    if (mode === "erase") return bits => erase(bits, erased);
    if (mode !== "rename") return bits => add(bits, added);
    if (scene.unknown.has(to) || to === label) return null;
    const [old, other] = [label, to].map(i => [...parts(i)].sort((a, b) => a - b)), gone = [label, ...old];
    const leaving = new Set(gone.flatMap(i => [...wholes(i)]));
    for (const i of [to, ...gone]) leaving.delete(i);
    const height = i => relatives(parents, i).size;
    const moved = old.length === other.length ? old.map((i, k) => [scene.wordsOf([i]), known([other[k], ...wholes(other[k])])]) : [];
    const left = [...leaving].sort((a, b) => height(b) - height(a) || a - b)
      .map(i => [scene.wordsOf(relatives(children, i)), known([i])]);
    const meets = (bits, words) => words.some((word, w) => word & bits[w]), home = known([to, ...wholes(to)]);
    return bits => {
      const before = bits.slice();
      erase(bits, erased);
      add(bits, home);
      for (const [held, words] of moved) if (meets(before, held)) add(bits, words);
      for (const [held, words] of left) if (!meets(bits, held)) erase(bits, words);
    };
  }
}
