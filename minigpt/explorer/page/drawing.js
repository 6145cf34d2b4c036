// Pictures: colours, canvases in the screen's own pixels, a map of weights, lines between tokens.

// A colour of style.css by its name. To answer, the browser computes the style of the whole page: it is asked once.
const colours = new Map(); // emptied when the theme changes
function colour(name) {
  if (!colours.has(name)) {
    colours.set(
      name,
      getComputedStyle(document.documentElement)
        .getPropertyValue("--" + name)
        .trim(),
    );
  }
  return colours.get(name);
}
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

// 256 colours from the card's own to another, each as one pixel: red, green, blue and opacity in four bytes.
function ramp(to, from = "card") {
  const [a, b] = [rgb(colour(from)), rgb(colour(to))];
  const pixels = new Uint32Array(256);
  const channels = new Uint8ClampedArray(pixels.buffer);
  pixels.forEach((_, shade) => channels.set([...a.map((x, i) => x + ((b[i] - x) * shade) / 255), 255], 4 * shade));
  return pixels;
}

// A number between -largest and largest as a colour: orange below 0, blue above.
function shadeOf(x, largest) {
  const share = Math.round(75 * Math.min(1, Math.abs(x) / (largest || 1)));
  return `color-mix(in srgb, var(--${x < 0 ? "orange" : "blue"}) ${share}%, transparent)`;
}
const largestOf = (numbers) => numbers.reduce((a, b) => Math.max(a, Math.abs(b)), 0);

// Weights from 0 to 1 -> shades from 0 to 255: the square root, so that small weights stay visible (numbers.py).
const shade = (weight) => Math.round(255 * Math.sqrt(Math.min(1, Math.max(0, weight))));

// A canvas of width × height CSS pixels, sharp on any screen, and its context in CSS pixels.
function canvas(width, height, attributes = {}) {
  const element = make("canvas", attributes);
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  element.width = Math.round(width * ratio);
  element.height = Math.round(height * ratio);
  element.style.width = width + "px";
  element.style.height = height + "px";
  const context = element.getContext("2d");
  context.scale(ratio, ratio);
  return [element, context];
}

// Two canvases of one size, one over the other: the picture, and what the pointer is on.
function twoLayers(width, height) {
  const [below, draw] = canvas(width, height);
  const [above, mark] = canvas(width, height);
  return { box: make("div", "layers", below, above), below, above, draw, mark, width, height };
}

// A matrix of shades (Uint8Array, rows × columns) as an image of one pixel a number.
function image(shades, rows, columns, table) {
  const picture = new OffscreenCanvas(columns, rows);
  const context = picture.getContext("2d");
  const picked = context.createImageData(columns, rows);
  const pixels = new Uint32Array(picked.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = table[shades[i]];
  context.putImageData(picked, 0, 0);
  return picture;
}

// A token of at most n characters.
function atMost(n, piece) {
  const characters = [...shown(piece)];
  return characters.length > n ? characters.slice(0, n - 1).join("") + "…" : characters.join("");
}

// The label of a token beside a map, no wider than `width`.
function label(context, piece, width) {
  let text = shown(piece);
  if (context.measureText(text).width <= width) return text;
  const characters = [...text];
  while (characters.length > 1 && context.measureText(characters.join("") + "…").width > width) characters.pop();
  return characters.join("") + "…";
}

// One large map: weights {shape: [T, S], at}, queries down, keys across. moved(query, key) is called while the pointer
// is on a cell (or null), picked(query, key) when one is clicked. Returns {element, mark(query, key)}.
function largeMap(weights, queries, keys, space, { moved, picked }) {
  const [n, m] = weights.shape;
  const cell = Math.max(7, Math.min(30, Math.floor((space - 96) / Math.max(n, m))));
  const font = Math.max(9, Math.min(13, cell - 1));
  const margin = { left: 92, top: 78 };
  const picture = twoLayers(margin.left + m * cell + 34, margin.top + n * cell + 4);
  const { draw, mark, above } = picture;
  const small = `${font}px ${colour("mono")}`;
  draw.font = small;
  draw.imageSmoothingEnabled = false;
  draw.drawImage(
    image(Uint8Array.from(weights.at, shade), n, m, ramp("blue")),
    margin.left,
    margin.top,
    m * cell,
    n * cell,
  );
  draw.strokeStyle = colour("line");
  draw.strokeRect(margin.left - 0.5, margin.top - 0.5, m * cell + 1, n * cell + 1);
  const step = Math.ceil(font / cell); // where cells are lower than letters, every second or third token has a label
  const write = (context, piece, i, across) => {
    context.save();
    if (across) {
      context.translate(margin.left + (i + 0.5) * cell, margin.top - 5);
      context.rotate(-Math.PI / 3);
    } else {
      context.translate(margin.left - 6, margin.top + (i + 0.5) * cell);
      context.textAlign = "right";
    }
    context.textBaseline = "middle";
    context.fillText(label(context, piece, 82), 0, 0);
    context.restore();
  };
  draw.fillStyle = colour("quiet");
  queries.forEach((piece, i) => i % step === 0 && write(draw, piece, i, false));
  keys.forEach((piece, i) => i % step === 0 && write(draw, piece, i, true));

  const place = (event) => {
    const box = above.getBoundingClientRect();
    const i = Math.floor((event.clientY - box.top - margin.top) / cell);
    const j = Math.floor((event.clientX - box.left - margin.left) / cell);
    return i >= 0 && i < n && j < m && j >= -margin.left / cell ? [i, j] : null;
  };
  above.addEventListener("pointermove", (event) => moved(place(event), event));
  above.addEventListener("pointerleave", (event) => moved(null, event));
  above.addEventListener("click", (event) => {
    const at = place(event);
    if (at) picked(at[0], at[1] < 0 ? null : at[1]);
  });
  return {
    element: picture.box,
    mark(i, j) {
      // a frame around a query's row, and one around a key's column
      mark.clearRect(0, 0, picture.width, picture.height);
      mark.lineWidth = 1.5;
      mark.font = "bold " + small;
      mark.strokeStyle = mark.fillStyle = colour("orange");
      if (i != null && i < n) {
        mark.strokeRect(margin.left, margin.top + i * cell, m * cell, cell);
        write(mark, queries[i], i, false);
      }
      if (j != null && j >= 0 && j < m) {
        mark.strokeStyle = mark.fillStyle = colour("green");
        mark.strokeRect(margin.left + j * cell, margin.top, cell, n * cell);
        write(mark, keys[j], j, true);
      }
    },
  };
}

// Lines from each query (left) to the keys that it looks at (right): the stronger the weight, the stronger the line.
function lineMap(weights, queries, keys, space, { moved, picked }) {
  const [n, m] = weights.shape;
  const height = 21,
    column = Math.min(180, space / 3),
    gap = Math.min(260, space / 3);
  const picture = twoLayers(2 * column + gap, Math.max(n, m) * height + 8);
  const { draw, mark, below, above } = picture;
  const font = `13px ${colour("mono")}`;
  const [left, right] = [column, column + gap];
  const middle = (i) => (i + 0.5) * height + 4;
  const words = (context, pieces, x, align) => {
    context.font = font;
    context.textAlign = align;
    context.textBaseline = "middle";
    pieces.forEach((piece, i) => context.fillText(label(context, piece, column - 14), x, middle(i)));
  };
  draw.fillStyle = colour("ink");
  words(draw, queries, left - 8, "right");
  words(draw, keys, right + 8, "left");
  const lines = (context, i, strength) => {
    context.lineWidth = 2;
    rowOf(weights, i).forEach((weight, j) => {
      if (weight < 0.02) return;
      context.globalAlpha = Math.min(1, weight * strength + 0.05);
      context.beginPath();
      context.moveTo(left, middle(i));
      context.bezierCurveTo(left + gap / 2, middle(i), right - gap / 2, middle(j), right, middle(j));
      context.stroke();
    });
    context.globalAlpha = 1;
  };
  draw.strokeStyle = colour("blue");
  for (let i = 0; i < n; i++) lines(draw, i, 0.55);
  const place = (event) => {
    const box = above.getBoundingClientRect();
    const i = Math.floor((event.clientY - box.top - 4) / height);
    const isKey = event.clientX - box.left > column + gap / 2;
    return i < 0 || i >= (isKey ? m : n) ? null : isKey ? [null, i] : [i, null];
  };
  above.addEventListener("pointermove", (event) => moved(place(event), event));
  above.addEventListener("pointerleave", (event) => moved(null, event));
  above.addEventListener("click", (event) => {
    const at = place(event);
    if (at) picked(...at);
  });
  return {
    element: picture.box,
    // The lines of one query; with a key alone, all that lead to it. While the pointer is here, the others are weaker.
    mark(i, j, alone, pointed) {
      below.style.opacity = pointed ? 0.3 : 1;
      mark.clearRect(0, 0, picture.width, picture.height);
      mark.strokeStyle = mark.fillStyle = colour("orange");
      mark.font = "bold " + font;
      mark.textBaseline = "middle";
      if (i != null && i < n && !alone) {
        lines(mark, i, 1.2);
        mark.textAlign = "right";
        mark.fillText(label(mark, queries[i], column - 14), left - 8, middle(i));
      }
      if (j != null && j >= 0 && j < m && alone) {
        mark.strokeStyle = mark.fillStyle = colour("green");
        mark.textAlign = "left";
        mark.fillText(label(mark, keys[j], column - 14), right + 8, middle(j));
        for (let q = 0; q < n; q++) {
          const weight = weights.at[q * m + j];
          if (weight < 0.02) continue;
          mark.lineWidth = 2;
          mark.globalAlpha = Math.min(1, weight + 0.1);
          mark.beginPath();
          mark.moveTo(left, middle(q));
          mark.bezierCurveTo(left + gap / 2, middle(q), right - gap / 2, middle(j), right, middle(j));
          mark.stroke();
        }
        mark.globalAlpha = 1;
      }
    },
  };
}

// A matrix of sizes (rows × columns), each row a line of the picture: the stream, the cache.
function strips(matrix, names, to, cell = 14, largest = null) {
  const [rows, columns] = matrix.shape;
  const wide = Math.max(3, Math.min(26, Math.floor(760 / columns)));
  const left = 74;
  const [element, draw] = canvas(left + columns * wide + 2, rows * cell + 2);
  const most = largest ?? matrix.at.reduce((a, b) => Math.max(a, b), 0);
  draw.imageSmoothingEnabled = false;
  const shades = Uint8Array.from(matrix.at, (x) => shade(x / (most || 1)));
  draw.drawImage(image(shades, rows, columns, ramp(to)), left, 1, columns * wide, rows * cell);
  draw.strokeStyle = colour("line");
  draw.strokeRect(left - 0.5, 0.5, columns * wide + 1, rows * cell + 1);
  draw.font = `11px ${colour("mono")}`;
  draw.fillStyle = colour("quiet");
  draw.textAlign = "right";
  draw.textBaseline = "middle";
  names.forEach((name, i) => draw.fillText(name, left - 6, (i + 0.5) * cell + 1));
  return {
    element,
    draw,
    left,
    wide,
    cell,
    at: (event) => {
      const box = element.getBoundingClientRect();
      const [i, j] = [
        Math.floor((event.clientY - box.top - 1) / cell),
        Math.floor((event.clientX - box.left - left) / wide),
      ];
      return i >= 0 && i < rows && j >= 0 && j < columns ? [i, j] : null;
    },
  };
}

// While the pointer is on an element, words beside it: words(event), or nothing where there are none.
function tipOn(element, words) {
  element.addEventListener("pointermove", (event) => tip(event, words(event)));
  element.addEventListener("pointerleave", (event) => tip(event, null));
  return element;
}

// What the pointer is on, in words beside it.
function tip(event, text) {
  const box = byId("tip");
  box.hidden = !text;
  if (!text) return;
  box.textContent = text;
  const right = event.clientX + 16 + box.offsetWidth > innerWidth;
  box.style.left = (right ? Math.max(4, event.clientX - 12 - box.offsetWidth) : event.clientX + 16) + "px";
  box.style.top = Math.min(innerHeight - box.offsetHeight - 4, event.clientY + 14) + "px";
}
