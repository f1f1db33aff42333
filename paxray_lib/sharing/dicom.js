// Films in uncompressed DICOM, as images/dicom.py shows them; what is left out here is refused.

const EXPLICIT = { "1.2.840.10008.1.2": false, "1.2.840.10008.1.2.1": true }; // transfer syntaxes: whether types stand in them
const LONG_TYPES = ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"];
const RADIOGRAPHS = ["CR", "DX", "RG", "DR", "XR", "XA", "RF", "OT", "SC", ""];
const UNDEFINED = 0xffffffff, ITEM = 0xfffee000, ITEM_END = 0xfffee00d, SEQUENCE_END = 0xfffee0dd;
const ELSEWHERE = "; export the film as PNG or JPEG, or use paxray predict";

/** The elements at the top of a file, by tag: where the value of each begins, and its length. */
class DicomFile {
  constructor(buffer) {
    this.view = new DataView(buffer);
    this.elements = new Map();
    let at = 132;
    while (this.view.getUint16(at, true) === 2) at = this.read(at, true);
    const syntax = this.text(0x00020010);
    if (!(syntax in EXPLICIT)) throw new Error(`compressed DICOM (${syntax}) is not read here${ELSEWHERE}`);
    while (at < buffer.byteLength) at = this.read(at, EXPLICIT[syntax]);
  }

  /** Read an element, or the delimiter of an item: its tag, the place and length of its value, and its type. */
  header(at, explicit) {
    const tag = this.view.getUint16(at, true) * 0x10000 + this.view.getUint16(at + 2, true);
    const type = explicit && tag < ITEM ? String.fromCharCode(this.view.getUint8(at + 4), this.view.getUint8(at + 5)) : "";
    if (!type) return { tag, type, start: at + 8, length: this.view.getUint32(at + 4, true) };
    if (LONG_TYPES.includes(type)) return { tag, type, start: at + 12, length: this.view.getUint32(at + 8, true) };
    return { tag, type, start: at + 8, length: this.view.getUint16(at + 6, true) };
  }

  /** Keep the element that begins at a place; return where it ends. */
  read(at, explicit) {
    const { tag, type, start, length } = this.header(at, explicit);
    this.elements.set(tag, { start, length });
    const end = length === UNDEFINED ? this.skip(start, explicit && type !== "UN") : start + length;
    if (end > this.view.byteLength) throw new RangeError();
    return end;
  }

  /** Return where a sequence of unknown length ends. */
  skip(at, explicit) {
    for (;;) {
      const { tag, start, length } = this.header(at, explicit);
      if (tag === SEQUENCE_END) return start;
      if (tag !== ITEM) throw new Error("damaged DICOM");
      at = start + length;
      if (length !== UNDEFINED) continue;
      at = start;
      for (let next = this.header(at, explicit); next.tag !== ITEM_END; next = this.header(at, explicit)) {
        at = next.length === UNDEFINED ? this.skip(next.start, explicit && next.type !== "UN") : next.start + next.length;
      }
      at += 8;
    }
  }

  text(tag) {
    const { start, length } = this.elements.get(tag) ?? { start: 0, length: 0 };
    return String.fromCharCode(...new Uint8Array(this.view.buffer, start, length)).replace(/[\0 ]+$/, "").trim();
  }

  /** The first of the numbers that are written as text; undefined if there is none. */
  number(tag) {
    const text = this.text(tag).split("\\")[0].trim();
    return text && Number.isFinite(Number(text)) ? Number(text) : undefined;
  }

  /** A number of 16 bits; undefined if there is none. */
  short(tag, signed = false) {
    const { start, length } = this.elements.get(tag) ?? { length: 0 };
    return length < 2 ? undefined : signed ? this.view.getInt16(start, true) : this.view.getUint16(start, true);
  }
}

/** Return the film of a DICOM file as a picture of 8 bits. */
function readDicom(buffer) {
  const file = new DicomFile(buffer), modality = file.text(0x00080060).toUpperCase();
  if (!RADIOGRAPHS.includes(modality)) throw new Error(`DICOM of modality ${modality}, no X-ray image`);
  const [samples, rows, columns, bits] = [0x00280002, 0x00280010, 0x00280011, 0x00280100].map(tag => file.short(tag));
  const photometric = file.text(0x00280004), tables = [0x00283000, 0x00283010].some(tag => file.elements.get(tag)?.length);
  const isPlain = samples === 1 && ["MONOCHROME1", "MONOCHROME2"].includes(photometric) && (file.number(0x00280008) ?? 1) === 1;
  if (!isPlain || tables || ![8, 16].includes(bits)) throw new Error(`DICOM with color, tables or several frames is not read here${ELSEWHERE}`);
  const { start, length } = file.elements.get(0x7fe00010) ?? { length: 0 };
  if (!(rows && columns) || length < rows * columns * bits / 8) throw new Error("damaged DICOM: it has no pixels, or too few");
  const signed = file.short(0x00280103) === 1, kind = bits === 8 ? (signed ? Int8Array : Uint8Array) : signed ? Int16Array : Uint16Array;
  const stored = new kind(buffer.slice(start, start + rows * columns * bits / 8)); // browsers run on little-endian machines
  const gray = displayed(file, stored, signed, photometric === "MONOCHROME1");
  const data = new Uint8ClampedArray(4 * gray.length);
  gray.forEach((value, i) => data.fill(value, 4 * i, 4 * i + 3));
  for (let i = 3; i < data.length; i += 4) data[i] = 255;
  return new ImageData(data, columns, rows);
}

/** Return gray values of 8 bits: rescaled, windowed or by their own range, padding black. */
function displayed(file, stored, signed, inverted) {
  const slope = file.number(0x00281053), intercept = file.number(0x00281052), isRescaled = slope !== undefined && intercept !== undefined;
  const value = isRescaled ? x => x * slope + intercept : x => x;
  const pad = file.short(0x00280120, signed), limit = file.short(0x00280121, signed) ?? pad;
  const [low, high] = [Math.min(pad, limit), Math.max(pad, limit)]; // NaN without padding
  const isPadding = stored.some(x => !(x >= low && x <= high)) ? x => x >= low && x <= high : () => false;
  let least = Infinity, most = -Infinity;
  for (const x of stored) {
    if (isPadding(x)) continue;
    least = Math.min(least, value(x));
    most = Math.max(most, value(x));
  }
  const unit = windowOf(file) ?? (x => (x - least) / (most - least || 1));
  return Uint8Array.from(stored, x => {
    if (isPadding(x)) return 0;
    const shown = Math.min(1, Math.max(0, unit(value(x))));
    return Math.round(255 * (inverted ? 1 - shown : shown));
  });
}

/** Return the first window, as in DICOM PS3.3 C.11.2; undefined if there is none. */
function windowOf(file) {
  const center = file.number(0x00281050), width = file.number(0x00281051), kind = file.text(0x00281056);
  if (center === undefined || !(width > 0)) return undefined;
  if (kind === "SIGMOID") return x => (1 + Math.tanh(2 * (x - center) / width)) / 2;
  const [middle, wide] = kind === "LINEAR_EXACT" ? [center, width] : [center - 0.5, width - 1];
  return wide > 0 ? x => (x - middle) / wide + 0.5 : x => (x > middle ? 1 : 0);
}
