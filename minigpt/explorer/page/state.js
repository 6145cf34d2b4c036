// What the page knows and shows, its words, and its questions to Python.

const page = JSON.parse(document.getElementById("data").textContent);
const model = page.model;
const live = page.inside === null; // a server answers; else all data lie in this file

const state = {
  reading: null, // what Python said of the text
  view: "attention",
  kind: null, // of attention: "self", or in a T5 "encoder", "decoder", "cross"
  chosen: {}, // kind -> {layer, head}; head null = the mean over the heads of a layer, of all layers where layer = L
  query: 0, // the token that looks
  key: null, // the token that is looked at; null = the one that the chosen head looks at most
  lines: false, // lines between tokens, in place of the map
  off: [], // the heads that are switched off, [kind, layer, head] each
  effects: null, // what each head alone changes, where that was computed
  settings: { temperature: null, top_k: null, top_p: null, min_p: null },
  sample: false,
  seed: 0,
  running: false,
  ended: null, // why a text cannot go on
  typed: "", // what the text box held when it was read, or was given after a step of writing
  given: 0, // tokens that were there before the model wrote: "back" takes none of them
};

// --- words -----------------------------------------------------------------------------------------------------------

// A browser may forbid a page to remember anything (a file in a sandbox): then it is forgotten.
function remembered(name) {
  try {
    return localStorage.getItem("minigpt-" + name);
  } catch {
    return null;
  }
}
function remember(name, value) {
  try {
    localStorage.setItem("minigpt-" + name, value);
  } catch {
    /* forgotten */
  }
}

let language = remembered("language") || page.language || (navigator.language.startsWith("zh") ? "zh" : "en");

// The words of a name in the reader's language, with {values} filled in.
function say(name, values = {}) {
  const text = page.words[name]?.[language === "zh" ? 1 : 0];
  if (text === undefined) throw new Error(`no words for ${name}`);
  return text.replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

// --- elements --------------------------------------------------------------------------------------------------------

// make("td", {class: "number", id: "loss"}, "text", child, ...); make("td", "number", ...) names the class alone.
// Text becomes text, never markup. A child that is null or undefined is left out.
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  if (typeof attributes === "string") attributes = attributes && { class: attributes };
  for (const [name, value] of Object.entries(attributes)) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else if (name === "width") element.style.width = value;
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}
const button = (words, onclick, more) => make("button", { type: "button", onclick, ...more }, words);
const bar = (share, kind = "bar") => make("div", { class: kind, width: `${100 * share}%` }); // of the width there is

// A row of numbers under its names: the first column holds text, the others numbers.
const headings = (...names) => make("tr", "", ...names.map((name, n) => make("th", n ? "number" : "", name)));
const numbers = (...texts) => texts.map((text) => make("td", "number", String(text)));

const byId = (id) => document.getElementById(id);

// Words with elements among them: where the words of `name` have {piece}, stands values.piece.
function mixed(name, values) {
  const found = [];
  const plain = Object.fromEntries(Object.keys(values).map((key) => [key, `\u0001${key}\u0001`]));
  say(name, plain)
    .split("\u0001")
    .forEach((text, i) => found.push(i % 2 ? values[text] : text));
  return found;
}

// A token as it is shown: blanks are made visible; what has no picture of its own is written as its code.
function shown(piece) {
  if (piece === "") return "∅";
  return piece
    .replace(/ /g, "␣")
    .replace(/\n/g, "⏎")
    .replace(/\t/g, "⇥")
    .replace(
      /[\p{Cc}\p{Zl}\p{Zp}\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\p{Co}\p{Cn}]/gu,
      (character) => "\\u" + character.codePointAt(0).toString(16).padStart(4, "0"),
    );
}
const pieceBox = (piece) => make("span", "piece", shown(piece));

// --- questions -------------------------------------------------------------------------------------------------------

// Ask Python. Throws an Error with its words where it refuses.
async function ask(question, fields) {
  let answer, found;
  try {
    answer = await fetch("/ask/" + question, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(fields),
    });
    found = await answer.json();
  } catch {
    throw new Error(say("no answer"));
  }
  if (!answer.ok) throw new Error(found.error);
  return found;
}

// The ids of what is shown, as every question but the first names the text.
function ids() {
  const { tokens, source } = state.reading;
  return source ? { tokens: tokens.ids, source: source.ids } : { tokens: tokens.ids };
}

function tell(text, kind = "") {
  const message = byId("message");
  message.textContent = text || "";
  message.hidden = !text;
  message.dataset.kind = kind;
}

// Do something that asks Python; what it refuses is told to the reader. Only the newest question may change the page.
let newest = 0;
async function attempt(action) {
  const mine = ++newest;
  document.body.dataset.busy = "true";
  tell("");
  try {
    await action(() => mine === newest);
  } catch (error) {
    if (mine === newest) tell(error.message, "error");
    state.running = false;
    if (state.reading) show();
  } finally {
    if (mine === newest) document.body.dataset.busy = "";
  }
}

// One head in full: {queries, keys, values, output, weights, bias}, packed; from this file or from Python.
const heads = new Map();
async function headInFull(kind, layer, head) {
  const name = `${kind} ${layer} ${head}`;
  if (!heads.has(name)) {
    heads.set(name, live ? ask("head", { ...ids(), kind, layer, head_number: head }) : inFile(kind, layer, head));
  }
  return heads.get(name);
}

function inFile(kind, layer, head) {
  const all = page.inside.heads[kind];
  const found = {};
  for (const name of Object.keys(all)) {
    found[name] = all[name] && (name === "bias" ? part(all[name], head) : part(all[name], layer, head));
  }
  return found;
}
const asMatrix = (array) => (array === null || array.at ? array : unpack(array));

const attentionOf = (kind) => state.reading.attention.find((one) => one.kind === kind);
const rowOfTokens = (name) => state.reading[name];
