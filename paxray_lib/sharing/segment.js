// Segments films, in a worker of the page; onnxruntime-web is handed in, and nothing is fetched.
//
// In:   { code, wasm, graph, threshold }, once;  { id, pixels, width, height, shown: { pixels, width, height } }
// Out:  { ready };  { id, scene } with a scene as the viewer takes it, or { id, error }
//
// Logits are enlarged bilinearly with half-pixel centres to the film as it is shown. Stray pieces stay,
// which `paxray predict` leaves out.

let runtime, session, cut;

onmessage = async ({ data }) => {
  try {
    if (data.graph) await start(data);
    else postMessage({ id: data.id, scene: await segment(data) });
  } catch (error) {
    postMessage({ id: data.id, error: String(error?.message ?? error) });
  }
};

async function start({ code, wasm, graph, threshold }) {
  runtime = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  runtime.env.wasm.numThreads = 1; // more need headers that a file has not
  runtime.env.wasm.wasmBinary = wasm;
  session = await runtime.InferenceSession.create(graph);
  cut = Math.log(threshold / (1 - threshold));
  await run(new Uint8Array(64), 8, 8); // the first run takes longer than others: compile before a film waits
  postMessage({ ready: true });
}

const run = (pixels, width, height) =>
  session.run({ pixels: new runtime.Tensor("uint8", pixels, [1, height, width]) });

async function segment({ pixels, width, height, shown }) {
  const { logits } = await run(pixels, width, height);
  const [, labels, h, w] = logits.dims, bytes = Math.ceil(labels / 8);
  const packed = decide(logits.data, labels, h, w, shown.height, shown.width);
  const { sets, ids } = tally(packed, bytes);
  return {
    width: shown.width, height: shown.height, channels: 1, view: null, spacing: null, unknown: [], broken: [],
    sets: { prediction: sets.length / bytes },
    prediction: await deflate([sets, ids]),
    image: await deflate([predicted(shown.pixels, shown.width, shown.height)]),
  };
}

/** Return packed bits (height, width, ceil(labels / 8)) of where the enlarged logits exceed the threshold. */
function decide(logits, labels, h, w, height, width) {
  const bytes = Math.ceil(labels / 8), packed = new Uint8Array(height * width * bytes);
  const columns = places(w, width), rows = places(h, height), line = new Float32Array(w);
  for (let label = 0; label < labels; label++) {
    const byte = label >> 3, bit = 1 << (label & 7);
    for (let y = 0; y < height; y++) {
      const above = (label * h + rows.before[y]) * w, below = (label * h + rows.after[y]) * w;
      let most = -Infinity;
      for (let x = 0; x < w; x++) {
        const value = logits[above + x] + (logits[below + x] - logits[above + x]) * rows.part[y];
        line[x] = value;
        if (value > most) most = value;
      }
      if (!(most > cut)) continue;
      for (let x = 0, at = y * width * bytes + byte; x < width; x++, at += bytes) {
        const left = line[columns.before[x]];
        if (left + (line[columns.after[x]] - left) * columns.part[x] > cut) packed[at] |= bit;
      }
    }
  }
  return packed;
}

/** Return where `target` new pixels lie among `source` old ones: between which two, and how far. */
function places(source, target) {
  const before = new Int32Array(target), after = new Int32Array(target), part = new Float32Array(target);
  for (let i = 0; i < target; i++) {
    const at = Math.max(0, (i + 0.5) * source / target - 0.5);
    before[i] = Math.min(Math.floor(at), source - 1);
    after[i] = Math.min(before[i] + 1, source - 1);
    part[i] = at - before[i];
  }
  return { before, after, part };
}

/** Return the distinct sets of labels, the empty one first, and for each pixel the number of its set, as bytes. */
function tally(packed, bytes) {
  const count = packed.length / bytes, ids = new Uint32Array(count);
  let size = 1 << 16;
  while (size < 2 * count) size *= 2;
  const table = new Int32Array(size).fill(-1), firsts = [-1]; // -1: no pixel has the empty set first
  const same = (p, q) => {
    for (let b = 0; b < bytes; b++) if (packed[p * bytes + b] !== (q < 0 ? 0 : packed[q * bytes + b])) return false;
    return true;
  };
  for (let p = 0; p < count; p++) {
    if (p && same(p, p - 1)) {
      ids[p] = ids[p - 1];
      continue;
    }
    if (same(p, -1)) continue;
    let hash = 0;
    for (let b = 0; b < bytes; b++) hash = Math.imul(hash ^ packed[p * bytes + b], 0x9e3779b1) ^ (hash >>> 15);
    let slot = hash & (size - 1);
    while (table[slot] >= 0 && !same(p, firsts[table[slot]])) slot = (slot + 1) & (size - 1);
    if (table[slot] < 0) {
      table[slot] = firsts.length;
      firsts.push(p);
    }
    ids[p] = table[slot];
  }
  const sets = new Uint8Array(firsts.length * bytes);
  firsts.forEach((p, k) => p >= 0 && sets.set(packed.subarray(p * bytes, (p + 1) * bytes), k * bytes));
  const small = firsts.length <= 65536 ? Uint16Array.from(ids) : ids; // browsers run on little-endian machines
  return { sets, ids: new Uint8Array(small.buffer) };
}

/** Return pixels less their prediction from left, upper and upper left neighbor, which masks.js undoes. */
function predicted(pixels, width, height) {
  const rest = new Uint8Array(pixels.length);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const left = x ? pixels[i - 1] : 0, up = y ? pixels[i - width] : 0, corner = x && y ? pixels[i - width - 1] : 0;
      const low = Math.min(left, up), high = Math.max(left, up);
      rest[i] = pixels[i] - Math.min(high, Math.max(low, left + up - corner));
    }
  }
  return rest;
}

async function deflate(parts) {
  const stream = new Blob(parts).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
