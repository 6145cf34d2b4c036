"use strict";
// Numbers: arrays as Python sends them, softmax, and the rules of sampling.

const KINDS = { f4: Float32Array, u1: Uint8Array, i4: Int32Array };
const unpacked = new WeakMap();

// {shape, type, data} with base64 -> {shape, at}, where `at` is a typed array. Unpacked once, and kept as long as the
// packed one.
function unpack(packed) {
  if (!unpacked.has(packed)) {
    const text = atob(packed.data);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    unpacked.set(packed, { shape: packed.shape, at: new KINDS[packed.type](bytes.buffer) });
  }
  return unpacked.get(packed);
}

// A part of a packed array: part(array, 2, 5) is array[2][5], with the dimensions that are left.
function part(packed, ...indices) {
  const { shape, at } = unpack(packed);
  const rest = shape.slice(indices.length);
  const size = rest.reduce((product, n) => product * n, 1);
  const start = indices.reduce((place, index, d) => place * shape[d] + index, 0) * size;
  return { shape: rest, at: at.subarray(start, start + size) };
}

// Row i of a matrix {shape: [n, m], at}.
const rowOf = (matrix, i) => matrix.at.subarray(i * matrix.shape[1], (i + 1) * matrix.shape[1]);

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

function softmax(logits) {
  let largest = -Infinity;
  for (const x of logits) if (x > largest) largest = x;
  const found = Float64Array.from(logits, (x) => Math.exp(x - largest));
  const total = sum(found);
  return found.map((x) => x / total);
}

// The rules of minigpt/generation/processors.py, in the numbers of a model: float32. Each takes logits (Float32Array)
// and returns new ones; what may not be chosen becomes -Infinity.
const RULES = {
  temperature: (logits, t) => logits.map((x) => x / Math.fround(t)),
  top_k(logits, k) {
    const threshold = logits.slice().sort()[Math.max(0, logits.length - k)]; // typed arrays sort by value, ascending
    return logits.map((x) => (x < threshold ? -Infinity : x));
  },
  // A token is removed when it and all less likely tokens add up to at most 1 - p. The likeliest always stays.
  top_p(logits, p) {
    const probabilities = Float32Array.from(softmax(logits));
    const order = Uint32Array.from(logits.keys()).sort((a, b) => logits[a] - logits[b] || a - b);
    const kept = logits.slice(),
      limit = Math.fround(1 - p);
    let total = 0;
    for (const id of order.subarray(0, -1)) {
      total += probabilities[id];
      if (Math.fround(total) > limit) break;
      kept[id] = -Infinity;
    }
    return kept;
  },
  min_p(logits, p) {
    const probabilities = Float32Array.from(softmax(logits));
    const limit = Math.fround(p) * probabilities.reduce((a, b) => Math.max(a, b));
    return logits.map((x, id) => (probabilities[id] < limit ? -Infinity : x));
  },
};

// Logits after all rules whose setting is not null, in the order that Python gives.
function processed(logits, settings, order) {
  for (const name of order) {
    if (settings[name] != null) logits = RULES[name](logits, settings[name]);
  }
  return logits;
}

// How a number is written: a few digits in a table, all that float32 has where it is followed.
const short = (x) => (x == null || Number.isNaN(x) ? "" : Math.abs(x) >= 1000 ? x.toFixed(0) : x.toFixed(2));
const exact = (x) =>
  x === -Infinity ? "−∞" : x === 0 ? "0" : Math.abs(x) < 1e-4 ? x.toExponential(3) : x.toPrecision(7);
const percent = (p) =>
  p >= 0.9995
    ? "100%"
    : p >= 0.01
      ? (100 * p).toFixed(1) + "%"
      : p >= 0.0001
        ? (100 * p).toFixed(2) + "%"
        : p > 0
          ? "<0.01%"
          : "0";
const points = (p) => (100 * p).toFixed(1); // of 100 points of probability
function bytes(n) {
  return n < 1000 ? `${n} B` : n < 1e6 ? `${(n / 1e3).toFixed(1)} kB` : `${(n / 1e6).toFixed(1)} MB`;
}
