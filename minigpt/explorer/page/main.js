// The frame of the page: its views, its buttons, its keys; and how a new text comes in.

const VIEWS = { attention: attentionView, head: headView, next: nextView, layers: layersView, perplexity: windowsView };

// Change what the page shows, and draw the selected view again. A view that needs numbers from Python draws when they
// are there, unless another was asked for meanwhile.
let drawing = 0;
async function show(changes) {
  const mine = ++drawing;
  Object.assign(state, changes);
  if (!state.reading) return;
  document.body.dataset.view = state.view;
  for (const button of byId("views").children)
    button.setAttribute("aria-selected", String(button.dataset.view === state.view));
  tip({ clientX: 0, clientY: 0 }, null);
  drawNotes();
  const focused = document.activeElement?.id; // drawn again, an element with this name gets the focus back
  try {
    await VIEWS[state.view].draw(byId("view"), () => mine === drawing);
  } catch (error) {
    heads.clear();
    lenses.delete(state.reading);
    console.error(error);
    tell(error.message, "error");
  }
  if (focused && mine === drawing) byId(focused)?.focus({ preventScroll: true });
  if (mine === drawing) document.body.dataset.drawn = String(mine);
}

// A text that Python has read. query is the token that looks at first. Heads that are off stay off.
async function newReading(reading, query) {
  heads.clear();
  Object.assign(state, { reading, effects: null, without: null });
  if (!state.kind) {
    state.kind = reading.attention.at(-1).kind;
    for (const { kind } of reading.attention) state.chosen[kind] = { layer: layersOf(kind), head: null };
  }
  const one = attentionOf(state.kind);
  state.query = Math.min(one.queries === "tokens" ? query : state.query, rowOfTokens(one.queries).ids.length - 1);
  state.key = null;
  drawTokens();
  await show();
  if (!state.running) findEffects(reading);
}

// What each head alone changes comes after the rest: it is many forward passes. Of a large model it does not come. The
// heads that are off are compared again.
async function findEffects(reading) {
  try {
    const found = live
      ? (await ask("effects", { ...ids(), position: reading.prediction.position })).effects
      : page.inside.effects;
    if (state.reading !== reading) return;
    state.effects = found;
    const off = state.off;
    const without = await predictionWithout(off);
    if (state.reading !== reading) return;
    if (state.off === off) state.without = without; // else a head was switched meanwhile
    if (state.view === "attention") await show();
  } catch {
    /* the page is as useful without them */
  }
}

// The text box holds what was read, unless the reader is typing something else.
function followText(reading) {
  const box = byId("text");
  if (box.value !== state.typed || reading.source) return; // of a T5 it holds the source, which stays
  box.value = state.typed = reading.text;
}

const readText = () =>
  attempt(async (isNewest) => {
    state.running = false;
    const text = byId("text").value;
    const reading = await ask("read", { text });
    if (!isNewest()) return;
    state.ended = null;
    state.typed = text;
    state.given = reading.source ? 1 : reading.tokens.ids.length;
    await newReading(reading, reading.prediction.position);
  });

// --- language, colours, words ----------------------------------------------------------------------------------------

function speak() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  byId("language").textContent = language === "zh" ? "English" : "中文";
  byId("theme").textContent = say(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  byId("text").placeholder = say("type here");
  byId("text").setAttribute("aria-label", say("type here"));
  byId("model").textContent = `${model.name} · ${model.class} · ${say("sizes", {
    layers: Object.values(model.layers).slice(0, 2).join(" + "),
    heads: model.heads,
    width: model.width,
    n: (model.parameters / 1e6).toFixed(1),
  })}`;
  document.title = `minigpt ${say("explorer")} · ${model.name}`;
  byId("views").replaceChildren(
    ...Object.keys(VIEWS).map((view, n) =>
      button(say(view === "next" && model.predicts === "gap" ? "view gap" : "view " + view), () => show({ view }), {
        role: "tab",
        "data-view": view,
        "aria-selected": String(view === state.view),
        title: String(n + 1),
      }),
    ),
  );
  const keys = ["← →", "↑ ↓", "[ ]", "1 … 5", "m", ...(live ? ["n", "b", "r", "/"] : []), "x", "l", "d", "?"];
  byId("key-list").replaceChildren(...keys.flatMap((key) => [make("dt", "", key), make("dd", "", say("key " + key))]));
  if (state.reading) {
    drawTokens();
    show();
  }
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  colours.clear();
  remember("theme", name);
  speak();
}

function setLanguage(name) {
  language = name;
  remember("language", name);
  speak();
}

// --- keys ------------------------------------------------------------------------------------------------------------

const step = (value, by, least, most) => Math.max(least, Math.min(most, value + by));

function moveHead(layers, headsOn) {
  const now = chosen();
  const head = headsOn ? step(now.head ?? (headsOn > 0 ? -1 : model.heads), headsOn, 0, model.heads - 1) : now.head;
  const last = layersOf(state.kind) - (head == null ? 0 : 1);
  choose(state.kind, step(Math.min(now.layer, last), layers, 0, last), head);
}

function moveQuery(by) {
  const { queries } = attentionOf(state.kind);
  selectToken(queries, step(state.query, by, 0, rowOfTokens(queries).ids.length - 1));
}

const KEYS = {
  ArrowLeft: () => moveQuery(-1),
  ArrowRight: () => moveQuery(1),
  ArrowUp: () => moveHead(-1, 0),
  ArrowDown: () => moveHead(1, 0),
  "[": () => moveHead(0, -1),
  "]": () => moveHead(0, 1),
  m: () => show({ lines: !state.lines }),
  x: () => {
    if (chosen().head != null && canSwitch()) toggleHead(state.kind, chosen().layer, chosen().head);
  },
  l: () => setLanguage(language === "zh" ? "en" : "zh"),
  d: () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"),
  "?": () => byId("keyboard").showModal(),
};
const KEYS_OF_WRITING = {
  n: () => canWrite() && writeNext(),
  b: () => canGoBack() && back(),
  r: () => (state.running || canWrite()) && run(),
};

// What a key does here and now; undefined where it does nothing.
function actionOf(key) {
  const view = Object.keys(VIEWS)[Number(key) - 1];
  if (view) return () => show({ view });
  if (key === "ArrowUp" || key === "ArrowDown")
    return ["attention", "head"].includes(state.view) ? KEYS[key] : undefined;
  if (live && key === "/") return () => byId("text").focus();
  return KEYS[key] ?? (live && model.predicts === "next" ? KEYS_OF_WRITING[key] : undefined);
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, dialog");
  if (event.key === "Escape" && typing) event.target.blur();
  if (event.key === "Enter" && event.target.id === "text" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    readText();
  }
  const action = actionOf(event.key);
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !state.reading || !action) return;
  event.preventDefault();
  action();
});

byId("language").addEventListener("click", KEYS.l);
byId("theme").addEventListener("click", KEYS.d);
byId("help").addEventListener("click", KEYS["?"]);
byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  readText();
});
let resized;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(show, 150);
});

document.documentElement.dataset.theme =
  remembered("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
document.documentElement.dataset.live = String(live);
for (const element of document.querySelectorAll(".only-live")) element.hidden = !live;
byId("text").value = state.typed = page.text;
speak();
if (live) readText();
else newReading(page.inside.reading, page.inside.reading.prediction.position);
