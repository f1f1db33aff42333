// Films that are dropped on the page: read here, segmented by the worker, shown by the viewer.

const MOST_PIXELS = 89e6, MOST_FILMS = KEPT_SCENES;

class LivePage {
  constructor(page) {
    this.page = page;
    const { traits, size, threshold } = JSON.parse(this.text("state"));
    Object.assign(this, { traits, size, threshold, model: null, store: null, films: 0, waiting: new Map() });
    const input = this.find("choose"), drop = event => { event.preventDefault(); this.take(event.dataTransfer.files); };
    input.addEventListener("change", () => { this.take(input.files); input.value = ""; });
    page.addEventListener("dragover", event => { event.preventDefault(); page.body.classList.add("over"); });
    page.addEventListener("dragleave", () => page.body.classList.remove("over"));
    page.addEventListener("drop", drop);
    this.queue = this.start();
  }

  find(id) { return this.page.getElementById(id); }

  text(id) { return this.find(id).textContent.trim(); }

  say(text) { this.find("said").textContent = text; }

  /** Start the worker, once: the page waits for it at the first film. */
  async start() {
    try {
      const [code, wasm, graph] = await Promise.all(["runtime", "wasm", "graph"].map(id => {
        const packed = toBytes(this.text(id));
        this.find(id).remove(); // it is large
        return inflate(packed);
      }));
      this.worker = new Worker(URL.createObjectURL(new Blob([this.text("segment")], { type: "text/javascript" })));
      await new Promise((resolve, reject) => {
        this.worker.onmessage = ({ data }) => {
          if (data.ready) resolve();
          else if (data.id === undefined) reject(new Error(data.error));
          else this.waiting.get(data.id)(data);
        };
        this.worker.onerror = () => reject(new Error("its worker does not start"));
        this.worker.postMessage({ code, wasm, graph, threshold: this.threshold });
      });
      this.page.body.dataset.ready = "";
      this.say("Ready.");
    } catch (error) {
      this.broken = `This browser cannot run the model (${error.message}); a newer Chrome, Edge or Firefox can.`;
      this.say(this.broken);
    }
  }

  /** Take files, one after the other. */
  take(files) {
    this.page.body.classList.remove("over");
    for (const file of files) this.queue = this.queue.then(() => this.broken ? this.say(this.broken) : this.segment(file));
  }

  async segment(file) {
    const start = performance.now();
    this.say(`${file.name} ...`);
    try {
      if (this.films >= MOST_FILMS) throw new Error(`a page holds ${MOST_FILMS} films; load it again for others`);
      const film = await readFilm(file, this.size), id = this.films;
      const { scene, error } = await new Promise(resolve => {
        this.waiting.set(id, resolve);
        this.worker.postMessage({ id, ...film });
      });
      if (error) throw new Error(error);
      this.add({ ...scene, index: id, name: file.name, note: film.note });
      const seconds = (performance.now() - start) / 1000;
      this.find("films").dataset.films = this.films;
      this.say(`${file.name}: ${seconds.toFixed(1)} s on this computer.`);
    } catch (error) {
      this.say(`${file.name}: ${error.message}`);
      this.find("failed").append(element("li", "", `${file.name}: ${error.message}`));
    }
  }

  /** Show one more film. */
  add(scene) {
    const names = [...(this.model?.get("_items").names ?? []), scene.name], views = names.map(() => null);
    const items = { ...this.traits._items, names, views };
    this.films = names.length;
    if (this.model) {
      this.store.add(scene);
      this.model.set("_items", items);
      this.model.set("position", scene.index);
      return;
    }
    this.model = new PageModel({ ...this.traits, _items: items, _first: scene });
    this.store = new Store(this.model);
    this.page.body.classList.add("shows");
    const viewer = new (kindOf(this.model))(this.model, this.store, this.find("films"), true);
    viewer.root.classList.add("standalone");
    viewer.find("stage").focus(); // keys work without a click
  }
}

/** Read a picture: gray pixels, and the same as it is shown, with at most `size` pixels a side. */
async function readFilm(file, size) {
  const start = new Uint8Array(await file.slice(0, 132).arrayBuffer());
  const isDicom = String.fromCharCode(...start.slice(128, 132)) === "DICM";
  const source = isDicom ? dicomOf(await file.arrayBuffer()) : file;
  const picture = await createImageBitmap(source, { colorSpaceConversion: "none" }).catch(() => {
    throw new Error("not a picture that this browser reads; PNG, JPEG and uncompressed DICOM are");
  });
  const { width, height } = picture, part = Math.min(1, size / Math.max(width, height));
  if (width * height > MOST_PIXELS) throw new Error(`${width} x ${height} pixels, more than ${MOST_PIXELS / 1e6} million`);
  const pixels = grayOf(picture, width, height);
  const shown = { width: Math.max(1, Math.floor(width * part)), height: Math.max(1, Math.floor(height * part)) };
  shown.pixels = part < 1 ? grayOf(picture, shown.width, shown.height) : pixels;
  const isDeep = start[0] === 0x89 && start[24] === 16;
  const note = (part < 1 ? `Reduced to ${shown.width} x ${shown.height} pixels, from ${width} x ${height}. ` : "")
    + (isDeep ? "Of its 16 bits a browser reads the upper 8. " : "");
  return { pixels, width, height, shown, note };
}

/** Return a picture of a DICOM file, whose lengths may lead beyond its end. */
function dicomOf(buffer) {
  try {
    return readDicom(buffer);
  } catch (error) {
    throw error instanceof RangeError ? new Error("damaged DICOM, or cut short") : error;
  }
}

/** Return the gray pixels of a picture at a size, by the weights of `read_image`. */
function grayOf(picture, width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { alpha: false });
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height), gray = new Uint8Array(width * height);
  for (let i = 0; i < gray.length; i++) {
    gray[i] = (data[4 * i] * 19595 + data[4 * i + 1] * 38470 + data[4 * i + 2] * 7471 + 0x8000) >> 16;
  }
  return gray;
}

new LivePage(document);
