// An image that is changed by hand: a brush paints out, things are put on it, moved and resized; by mouse, touch and
// keyboard. Runs inside Gradio's HTML component, which gives `element`, `props`, `trigger` and `watch`; its value is the JSON
// text {"src", "strokes": [{"r", "points"}], "pastes": [{"name", "x", "y", "size"}]} with places as shares of the image.
// The thing "" is a blank patch: it paints out its square.
const zh = window.atlasLang === "zh";
const say = (english, chinese) => (zh ? chinese : english);
const pane = element.querySelector(".atlas-pane");
const image = pane.querySelector("img");
const canvas = pane.querySelector("canvas");
const size = element.querySelector("input[type=range]");
const status = element.querySelector("[data-count]");
const shelf = element.querySelector(".atlas-shelf");
const known = {}; // name -> address of its thumbnail
shelf.querySelectorAll("button").forEach((button) => {
  known[button.dataset.sprite] = { src: button.querySelector("img")?.src || "", title: button.title };
});
const STEP = 0.02;
let strokes = [];
let pastes = [];
let history = []; // "strokes" or "pastes", in the order they came
let drag = null;

const clamp = (value) => Math.min(1, Math.max(0, value));

function read() {
  let value = {};
  try { value = JSON.parse(props.value || "{}"); } catch { /* nothing there yet */ }
  strokes = value.strokes || [];
  pastes = value.pastes || [];
  Object.assign(known, value.known || {});
  history = [...strokes.map(() => "strokes"), ...pastes.map(() => "pastes")];
  if (value.src !== undefined && image.getAttribute("src") !== value.src) image.setAttribute("src", value.src);
  pane.hidden = !image.getAttribute("src");
  draw();
}

function draw(focus) {
  const [width, height] = [image.clientWidth, image.clientHeight];
  const scale = Math.min(2, window.devicePixelRatio || 1);
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.lineCap = context.lineJoin = "round";
  strokes.forEach(({ r, points }) => {
    context.lineWidth = 2 * r * Math.max(width, height);
    context.strokeStyle = "#d55e00";
    context.beginPath();
    points.forEach(([x, y], i) => (i ? context.lineTo(x * width, y * height) : context.moveTo(x * width, y * height)));
    if (points.length === 1) context.lineTo(points[0][0] * width + 0.1, points[0][1] * height);
    context.stroke();
  });
  const old = [...pane.querySelectorAll(".atlas-paste")];
  old.slice(pastes.length).forEach((extra) => extra.remove());
  const shorter = Math.min(width, height);
  pastes.forEach((thing, i) => {
    const made = old[i] || pane.appendChild(newThing());
    const side = thing.size * shorter;
    Object.assign(made.style, {
      width: `${side}px`, height: `${side}px`, left: `${thing.x * width - side / 2}px`, top: `${thing.y * height - side / 2}px`,
    });
    made.dataset.index = i;
    made.classList.toggle("blank", !thing.name);
    const { src, title } = known[thing.name] || {};
    made.querySelector("span").style.backgroundImage = src ? `url("${src}")` : "none";
    made.setAttribute("aria-label", say(
      `${title || thing.name}: centre at ${Math.round(100 * thing.x)}%, ${Math.round(100 * thing.y)}%. Arrows move it, plus and minus resize it, Delete removes it.`,
      `${title || thing.name}：中心在 ${Math.round(100 * thing.x)}%，${Math.round(100 * thing.y)}%。方向键移动，加号减号改变大小，Delete 删除。`,
    ));
  });
  const parts = [];
  if (strokes.length) parts.push(say(`${strokes.length} painted out`, `涂掉 ${strokes.length} 处`));
  if (pastes.length) parts.push(say(`${pastes.length} put in`, `放入 ${pastes.length} 个`));
  status.textContent = parts.join(say(", ", "，"));
  if (focus !== undefined) pane.querySelector(`.atlas-paste[data-index="${focus}"]`)?.focus();
}

function newThing() {
  const made = document.createElement("div");
  made.className = "atlas-paste";
  made.tabIndex = 0;
  made.setAttribute("role", "button");
  made.append(document.createElement("span"), document.createElement("i"));
  return made;
}

function commit(asked = true) {
  props.value = JSON.stringify({ src: image.getAttribute("src"), strokes, pastes });
  // "input" is the word for: somebody finished a change.
  if (asked) trigger("input");
}

function at(event) {
  const area = image.getBoundingClientRect();
  return [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
}

pane.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  const hit = event.target.closest(".atlas-paste");
  const start = at(event);
  if (hit) {
    const index = Number(hit.dataset.index);
    drag = { index, start, from: { ...pastes[index] }, resize: event.target.matches("i") };
    hit.focus({ preventScroll: true }); // the image must not move under the pointer
  } else {
    strokes.push({ r: Number(size.value), points: [start.map(clamp)] });
    history.push("strokes");
    drag = { stroke: strokes[strokes.length - 1] };
    draw();
  }
  pane.setPointerCapture(event.pointerId);
  event.preventDefault();
});
pane.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const [x, y] = at(event);
  if (drag.stroke) {
    const [x0, y0] = drag.stroke.points[drag.stroke.points.length - 1];
    if (Math.hypot(x - x0, y - y0) > 0.004) drag.stroke.points.push([+clamp(x).toFixed(4), +clamp(y).toFixed(4)]);
  } else {
    const [dx, dy] = [x - drag.start[0], y - drag.start[1]];
    const { from } = drag;
    pastes[drag.index] = drag.resize
      ? { ...from, size: Math.min(1.5, Math.max(0.06, from.size + 2 * Math.max(dx, dy))) }
      : { ...from, x: clamp(from.x + dx), y: clamp(from.y + dy) };
  }
  draw();
});
function release() {
  if (!drag) return;
  drag = null;
  commit();
}
pane.addEventListener("pointerup", release);
pane.addEventListener("pointercancel", release);

pane.addEventListener("keydown", (event) => {
  const hit = event.target.closest(".atlas-paste");
  if (!hit) return;
  const index = Number(hit.dataset.index);
  const thing = pastes[index];
  const moves = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
  const grow = { "+": 1.1, "=": 1.1, "-": 1 / 1.1 };
  if (moves[event.key]) {
    thing.x = clamp(thing.x + moves[event.key][0]);
    thing.y = clamp(thing.y + moves[event.key][1]);
  } else if (grow[event.key]) {
    thing.size = Math.min(1.5, Math.max(0.06, thing.size * grow[event.key]));
  } else if (event.key === "Delete" || event.key === "Backspace") {
    pastes.splice(index, 1);
    history.splice(history.lastIndexOf("pastes"), 1);
  } else {
    return;
  }
  event.preventDefault();
  draw(Math.min(index, pastes.length - 1));
  commit();
});

shelf.addEventListener("click", (event) => {
  const button = event.target.closest("[data-sprite]");
  if (!button || pane.hidden) return;
  const shift = (pastes.length % 5) * 0.06;
  pastes.push({ name: button.dataset.sprite, x: 0.5 + shift, y: 0.5 + shift, size: 0.4 });
  history.push("pastes");
  draw(pastes.length - 1);
  commit();
});
element.querySelector("[data-undo]").addEventListener("click", () => {
  const last = history.pop();
  if (last === "strokes") strokes.pop();
  else if (last) pastes.pop();
  draw();
  commit();
});
element.querySelector("[data-clear]").addEventListener("click", () => {
  [strokes, pastes, history] = [[], [], []];
  draw();
  commit();
});
// The pane has the shape of the image: places on it are shares of its sides.
image.addEventListener("load", () => pane.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight));
new ResizeObserver(() => draw()).observe(image);

watch("value", () => { if (!drag) read(); });
read();
