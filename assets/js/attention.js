// What reads what, layer by layer and head by head: the image under one map, and a tile for every map. Hovering or
// focusing a tile shows it large at once; a click on the image lets that place read. Runs inside Gradio's HTML component,
// which gives `element`, `props`, `trigger` and `watch`; the value is JSON text made by demos/clip/draw.py:
// {"src", "crop": shares, "layers", "heads", "grid": [h, w], "maps": base64 bytes, "peaks", "kept", "mean", "reader", "ramp", "at", "asked"}.
const zh = window.atlasLang === "zh";
const say = (english, chinese) => (zh ? chinese : english);
const big = element.querySelector(".atlas-attend-big");
const canvas = big.querySelector("canvas");
const tiles = element.querySelector(".atlas-attend-tiles");
const caption = element.querySelector(".atlas-attend-caption");
const strength = element.querySelector("input[type=range]");
const image = new Image();
let data = null;
let at = { layer: 0, head: -1 }; // head -1 is the mean of all heads
let place = null; // where the keyboard is
let asked = 0; // number of the last request

const percent = (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)}%`;

function read() {
  let value = null;
  try { value = JSON.parse(props.value || "null"); } catch { /* nothing there yet */ }
  element.querySelector(".atlas-attend").hidden = !value;
  if (!value) return;
  // The answer to an earlier request can come behind a later request and replace it: then that one is sent again.
  if (value.asked && value.asked < asked) { ask(place); return; }
  const bytes = Uint8Array.from(atob(value.maps), (letter) => letter.charCodeAt(0));
  const first = !data || data.layers.length !== value.layers.length || data.heads !== value.heads;
  data = { ...value, bytes };
  if (first) at = { layer: value.at, head: -1 };
  place = value.reader;
  layTiles();
  if (image.src !== value.src) {
    image.onload = show;
    image.src = value.src;
  }
  show();
}

// The weights of one layer and head as shares of the reader's attention.
function map(layer, head) {
  const [h, w] = data.grid;
  const size = h * w;
  const one = (k) => {
    const start = (layer * data.heads + k) * size;
    const peak = data.peaks[layer * data.heads + k] / 255;
    return Array.from(data.bytes.subarray(start, start + size), (byte) => byte * peak);
  };
  if (head >= 0) return one(head);
  const sum = new Array(size).fill(0);
  for (let k = 0; k < data.heads; k += 1) one(k).forEach((value, i) => { sum[i] += value / data.heads; });
  return sum;
}

function colour(share) {
  const ramp = data.ramp;
  const spot = Math.min(0.9999, Math.max(0, share)) * (ramp.length - 1);
  const low = Math.floor(spot);
  return ramp[low].map((value, i) => Math.round(value + (ramp[low + 1][i] - value) * (spot - low)));
}

function paint(target, values) {
  const [h, w] = data.grid;
  const context = target.getContext("2d");
  target.width = w;
  target.height = h;
  const pixels = context.createImageData(w, h);
  const top = Math.max(...values, 1e-9);
  values.forEach((value, i) => pixels.data.set([...colour(value / top), 255], 4 * i));
  context.putImageData(pixels, 0, 0);
}

const title = (layer, head) =>
  `${data.layers[layer]} · ${head < 0 ? say("mean of heads", "各头平均") : say(`head ${head + 1}`, `第 ${head + 1} 头`)}`;

function layTiles() {
  tiles.style.setProperty("--heads", data.heads + 1);
  tiles.classList.toggle("few", data.layers.length < 3);
  const count = data.layers.length * (data.heads + 1);
  while (tiles.children.length > count) tiles.lastChild.remove();
  while (tiles.children.length < count) {
    const made = document.createElement("button");
    made.type = "button";
    made.append(document.createElement("canvas"));
    tiles.append(made);
  }
  [...tiles.children].forEach((tile, i) => {
    const layer = Math.floor(i / (data.heads + 1));
    const head = (i % (data.heads + 1)) - 1;
    tile.dataset.layer = layer;
    tile.dataset.head = head;
    tile.title = title(layer, head);
    tile.setAttribute("aria-label", tile.title);
    tile.className = head < 0 ? "mean" : "";
    paint(tile.firstChild, map(layer, head));
  });
}

function show() {
  if (!data || !image.complete || !image.naturalWidth) return;
  const { layer, head } = at;
  const values = map(layer, head);
  [...tiles.children].forEach((tile) => {
    tile.setAttribute("aria-pressed", Number(tile.dataset.layer) === layer && Number(tile.dataset.head) === head);
  });
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const small = document.createElement("canvas");
  paint(small, values);
  const [left, top, right, bottom] = data.crop.map((share, i) => share * (i % 2 ? height : width));
  context.globalAlpha = Number(strength.value);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, left, top, right - left, bottom - top);
  context.globalAlpha = 1;
  const [h, w] = data.grid;
  if (place) {
    const [row, column] = place;
    const cell = [(right - left) / w, (bottom - top) / h];
    context.lineWidth = Math.max(2, width / 120);
    ["#000", "#e69f00"].forEach((ink, i) => {
      context.strokeStyle = ink;
      context.setLineDash(i ? [8, 6] : []);
      context.strokeRect(left + column * cell[0], top + row * cell[1], cell[0], cell[1]);
    });
  }
  const best = values.indexOf(Math.max(...values));
  const where = say(`row ${Math.floor(best / w) + 1}, column ${(best % w) + 1}`, `第 ${Math.floor(best / w) + 1} 行第 ${(best % w) + 1} 列`);
  const heads = head < 0 ? data.kept[layer].reduce((a, b) => a + b, 0) / data.heads : data.kept[layer][head];
  const who = data.reader
    ? say(`What the marked place reads (row ${data.reader[0] + 1}, column ${data.reader[1] + 1})`, `标出的位置（第 ${data.reader[0] + 1} 行第 ${data.reader[1] + 1} 列）在读什么`)
    : data.mean[layer]
      ? say("How much each place is read by all others (this layer has no token for the whole image)", "每个位置被其他位置读了多少（这一层没有代表整张图的 token）")
      : say("What the token of the whole image reads", "代表整张图的 token 在读什么");
  const kept = heads > 0.0005 ? say(`; ${percent(heads)} stays on the token of the whole image`, `；${percent(heads)} 留在代表整张图的 token 上`) : "";
  caption.innerHTML = "";
  const bold = document.createElement("b");
  bold.textContent = title(layer, head);
  caption.append(bold, ` ${who}: ${say("most at", "最多的是")} ${where}, ${percent(values[best])}${kept}.`);
}

function choose(event) {
  const tile = event.target.closest("button[data-layer]");
  if (!tile) return;
  at = { layer: Number(tile.dataset.layer), head: Number(tile.dataset.head) };
  show();
}
["click", "pointerover", "focusin"].forEach((kind) => tiles.addEventListener(kind, choose));
strength.addEventListener("input", show);

function ask(next) {
  place = next;
  data.reader = next;
  asked += 1;
  props.value = JSON.stringify({ ...data, bytes: undefined, reader: next, asked });
  trigger("select");
}
canvas.addEventListener("click", (event) => {
  if (!data) return;
  const area = canvas.getBoundingClientRect();
  const x = (event.clientX - area.left) / area.width;
  const y = (event.clientY - area.top) / area.height;
  const [left, top, right, bottom] = data.crop;
  const [h, w] = data.grid;
  const column = Math.floor(((x - left) / (right - left)) * w);
  const row = Math.floor(((y - top) / (bottom - top)) * h);
  if (row < 0 || column < 0 || row >= h || column >= w) return;
  ask(place && place[0] === row && place[1] === column ? null : [row, column]);
});
canvas.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  if (!data || (!steps[event.key] && event.key !== "Escape")) return;
  event.preventDefault();
  if (event.key === "Escape") { ask(null); return; }
  const [h, w] = data.grid;
  const [row, column] = place || [Math.floor(h / 2), Math.floor(w / 2)];
  const [down, right] = place ? steps[event.key] : [0, 0];
  ask([Math.min(h - 1, Math.max(0, row + down)), Math.min(w - 1, Math.max(0, column + right))]);
});
element.querySelector("[data-whole]").addEventListener("click", () => { if (data) ask(null); });

watch("value", read);
read();
