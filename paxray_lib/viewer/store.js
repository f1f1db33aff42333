// What the views of one model share: the images that have arrived, and the strokes on them.

/** Strokes in the browser's storage, which may be full or forbidden, until a kernel has acknowledged them. */
class Shelf {
  constructor(folder) { this.prefix = folder && `paxray ${folder} `; }

  /** Return what `action` makes of the storage; undefined if there is none, or it refuses. */
  attempt(action) {
    try {
      return this.prefix ? action(localStorage) : undefined;
    } catch {
      return undefined;
    }
  }

  put(record) { this.attempt(storage => storage.setItem(this.prefix + record.id, JSON.stringify(record))); }

  drop(id) { this.attempt(storage => storage.removeItem(this.prefix + id)); }

  all() {
    const keys = this.attempt(storage => Object.keys(storage).filter(key => key.startsWith(this.prefix))) ?? [];
    return keys.map(key => this.attempt(storage => JSON.parse(storage.getItem(key)))).filter(Boolean);
  }
}

/** The images, still compressed, and for each image its strokes. */
class Store {
  constructor(model) {
    this.model = model;
    this.scenes = new Map();
    this.asked = new Set();
    this.listeners = new Set();
    this.edits = new Map(); // the strokes of each image, in order
    this.pending = new Map(); // those that the kernel has not acknowledged yet: { index, record, error } by id
    this.editListeners = new Set();
    this.folder = model.get("_folder");
    this.shelf = new Shelf(this.folder);
    const first = model.get("_first");
    if (first && "index" in first) this.add(first);
    model.on("change:_first", () => this.add(model.get("_first")));
    model.on("msg:custom", (content, buffers) => {
      if (content.kept) this.acknowledge(content.kept);
      if (content.broken) this.breaks(...content.broken);
      if (content.trouble) this.tell(content.trouble);
      if (!content.scene) return;
      content.parts.forEach((part, k) => { content.scene[part] = buffers[k]; });
      this.add(content.scene);
    });
  }

  /** Take an image as the kernel has it, and send the strokes that it lacks: one may have died before it heard of them. */
  add(scene) {
    const { index, strokes = [] } = scene, ids = new Set(strokes.map(({ id }) => id));
    this.scenes.set(index, scene);
    this.asked.delete(index);
    if (this.scenes.size > KEPT_SCENES) this.scenes.delete(this.scenes.keys().next().value);
    const left = scene.error ? [] : this.left(scene);
    left.filter(({ id }) => ids.has(id)).forEach(({ id }) => this.drop(id));
    const sent = left.filter(({ id }) => !ids.has(id));
    this.edits.set(index, [...strokes, ...sent]);
    sent.forEach(record => this.pending.set(record.id, { index, record }));
    if (sent.length) this.send(sent);
    for (const listener of this.listeners) listener(index);
  }

  /** The strokes of an image that no kernel has acknowledged, in order. */
  left({ index, name, film }) {
    const waiting = this.waiting(index).map(({ record }) => record);
    const shelved = this.shelf.all().filter(one => one.image === name && one.film === film && !this.pending.has(one.id));
    const { names } = this.model.get("_labels"), tells = (place, name = names[place]) => names[place] === name;
    const fitting = shelved.filter(one => tells(one.label, one.name) && tells(one.to, one.to_name));
    const apart = shelved.find(one => !fitting.includes(one)); // it stays on the shelf: a kernel with these labels refuses it for good
    if (apart) this.trouble = `A stroke on ${apart.name} waits: open the film with the masks and predictions that it was drawn on.`;
    return [...fitting.sort((a, b) => a.seconds - b.seconds), ...waiting];
  }

  waiting(index) { return [...this.pending.values()].filter(one => one.index === index); }

  /** Why the kernel did not keep a stroke of an image. */
  refusal(index) { return this.waiting(index).find(({ error }) => error)?.error; }

  /** Add a stroke to an image, and hand it to the kernel, with all before it if it refused one. */
  record(index, record, sends) {
    this.edits.set(index, [...(this.edits.get(index) ?? []), record]);
    this.trouble = null;
    if (sends) {
      const again = this.refusal(index) !== undefined;
      this.pending.set(record.id, { index, record });
      this.shelf.put(record);
      this.send(again ? this.waiting(index).map(one => one.record) : [record]);
    }
    for (const listener of this.editListeners) listener(index);
  }

  send(records) { this.model.send({ strokes: records.map(record => [this.pending.get(record.id).index, record]) }); }

  acknowledge({ id, error, final, index, stroke }) {
    const one = this.pending.get(id);
    if (!one && stroke) this.adopt(index, stroke);
    if (!error || final) this.drop(id);
    else if (one) one.error = error;
    if (final) {
      if (one) this.again(one.index); // what it changed here goes
      this.trouble = `Not kept: ${error}`;
    }
    for (const listener of this.editListeners) listener(index ?? null);
  }

  /** Add a stroke of another page; if some of this page are on their way, the kernel knows the order. */
  adopt(index, stroke) {
    const edits = this.edits.get(index);
    if (!edits || edits.some(({ id }) => id === stroke.id)) return;
    if (this.waiting(index).length) this.again(index);
    else this.edits.set(index, [...edits, stroke]);
  }

  /** Take over which rules of anatomy the masks of an image break by now. */
  breaks(index, rules) {
    const scene = this.scenes.get(index);
    if (scene) scene.broken = rules;
    for (const listener of this.editListeners) listener(index);
  }

  drop(id) {
    this.pending.delete(id);
    this.shelf.drop(id);
  }

  tell(trouble) {
    this.trouble = trouble;
    for (const listener of this.editListeners) listener(null);
  }

  need(indices) {
    const missing = indices.filter(index => !this.scenes.has(index) && !this.asked.has(index));
    if (!missing.length) return;
    missing.forEach(index => this.asked.add(index));
    this.model.send({ need: missing });
  }

  /** Ask for an image again, as it is now. */
  again(index) {
    this.trouble = null;
    this.scenes.delete(index);
    this.asked.delete(index);
    this.need([index]);
  }
}
