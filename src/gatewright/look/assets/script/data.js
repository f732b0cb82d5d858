// The data of the page: what is chosen, and numbers by unit and step.

const element = (id) => document.getElementById(id);
const chosen = { row: 0, layer: 0, value: 0, unit: 0, step: 0, span: null };
let header = null;
let bytes = null;
let cache = new Map();
let order = [];
let spans = [];
let hits = new Set(); // places of what was searched for

async function inflated(text) {
  const raw = Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const row = () => header.rows[chosen.row];
const layer = () => header.layers[chosen.layer];
const value = () => layer().values[chosen.value];
// Whether the steps of the row are read as a text: a series with dates is read as a chart.
const isText = () => Boolean(row().symbols) && !row().series && !row().keys;
const stepOf = (symbol) => Math.floor(symbol / header.patch);

// The levels of a value in the chosen row, unit after unit. The blob holds them, or their differences modulo 256.
function levels(description) {
  const key = `${chosen.row} ${chosen.layer} ${description.name}`;
  if (!cache.has(key)) {
    const steps = row().steps;
    const start = description.offsets[chosen.row];
    const packed = bytes.subarray(start, start + description.units * steps);
    cache.set(key, description.differences ? summed(packed, steps) : packed);
  }
  return cache.get(key);
}

// Levels of which the differences are kept, unit after unit.
function summed(differences, steps) {
  const decoded = new Uint8Array(differences.length);
  let level = 0;
  for (let place = 0; place < differences.length; place++) {
    level = place % steps ? (level + differences[place]) & 255 : differences[place];
    decoded[place] = level;
  }
  return decoded;
}

function numbers(description, unit) {
  const steps = row().steps;
  const scale = (description.high - description.low) / (header.levels - 1);
  const own = levels(description).subarray(unit * steps, (unit + 1) * steps);
  return Array.from(own, (level) => description.low + level * scale);
}

function expectedAt(step) {
  const { expected } = row();
  if (!expected) return [];
  const labels = bytes.subarray(expected.labels + step * expected.count * expected.bytes);
  return Array.from({ length: expected.count }, (_, place) => {
    let label = 0;
    for (let byte = expected.bytes - 1; byte >= 0; byte--) label = label * 256 + labels[place * expected.bytes + byte];
    return { label: header.labels[label], chance: bytes[expected.chances + step * expected.count + place] / 255 };
  });
}

// How much each step contributed to the output of a step, by the places of steps; null where nothing was measured.
function contributionsTo(step) {
  const table = header.saliency[chosen.row];
  if (!table || (table.lags && step >= table.outputs)) return null;
  const line = table.lags ? step : within(step - table.first, table.outputs);
  const contributions = new Map();
  for (let place = 0; place < table.width; place++) {
    const at = table.lags ? step - place : place;
    if (at >= 0) contributions.set(at, bytes[table.offset + line * table.width + place] / table.levels);
  }
  return contributions;
}

// Norms that are kept as powers of ten: one line of a table, as powers; null where there is no norm.
function powers(table, line) {
  const scale = (table.high - table.low) / 254;
  const start = table.offset + line * table.width;
  return Array.from(bytes.subarray(start, start + table.width), (byte) => (byte ? table.low + (byte - 1) * scale : null));
}
