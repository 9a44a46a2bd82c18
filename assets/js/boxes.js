// An image on which boxes are drawn, moved and resized, by mouse, touch and keyboard. Runs inside Gradio's HTML
// component, which gives `element`, `props`, `trigger` and `watch`; its value is the JSON text
// {"src", "boxes": [[left, top, right, bottom], ...], "captions": [...]}, with places as shares of the image.
const zh = window.atlasLang === "zh";
const say = (english, chinese) => (zh ? chinese : english);
const pane = element.querySelector(".atlas-pane");
const image = pane.querySelector("img");
const count = element.querySelector("[data-count]");
const LEAST = 0.02; // a smaller box is a slip of the hand
const STEP = 0.02; // of an arrow key
let boxes = [];
let captions = [];
let drag = null;

const clamp = (value) => Math.min(1, Math.max(0, value));
const percent = (value) => `${Math.round(100 * value)}%`;

function read() {
  let value = {};
  try { value = JSON.parse(props.value || "{}"); } catch { /* nothing there yet */ }
  boxes = value.boxes || [];
  captions = value.captions || [];
  // Python answers without an address: the image stays.
  if (value.src !== undefined && image.getAttribute("src") !== value.src) image.setAttribute("src", value.src);
  pane.hidden = !image.getAttribute("src");
  draw();
}

function draw(focus) {
  const old = pane.querySelectorAll(".atlas-box");
  boxes.forEach((box, i) => {
    const made = old[i] || pane.appendChild(newBox());
    const [left, top, right, bottom] = box;
    Object.assign(made.style, {
      left: percent2(left), top: percent2(top), width: percent2(right - left), height: percent2(bottom - top),
    });
    made.dataset.index = i;
    made.querySelector("b").textContent = captions[i] ? `${i + 1} ${captions[i]}` : i + 1;
    made.setAttribute("aria-label", say(
      `Box ${i + 1}${captions[i] ? `, ${captions[i]}` : ""}: from ${percent(left)}, ${percent(top)} to ${percent(right)}, ${percent(bottom)}. Arrows move it, Shift and arrows resize it, Delete removes it.`,
      `方框 ${i + 1}${captions[i] ? `，${captions[i]}` : ""}：从 ${percent(left)}，${percent(top)} 到 ${percent(right)}，${percent(bottom)}。方向键移动，Shift 加方向键改变大小，Delete 删除。`,
    ));
  });
  [...old].slice(boxes.length).forEach((extra) => extra.remove());
  count.textContent = boxes.length ? say(`${boxes.length} box${boxes.length > 1 ? "es" : ""}`, `${boxes.length} 个方框`) : "";
  if (focus !== undefined) pane.querySelector(`.atlas-box[data-index="${focus}"]`)?.focus();
}

const percent2 = (value) => `${(100 * value).toFixed(2)}%`;

function newBox() {
  const made = document.createElement("div");
  made.className = "atlas-box";
  made.tabIndex = 0;
  made.setAttribute("role", "button");
  made.append(document.createElement("b"), document.createElement("i"));
  return made;
}

function commit() {
  captions = [];
  draw();
  props.value = JSON.stringify({ src: image.getAttribute("src"), boxes, captions });
  trigger("input");
}

// The box moved by (x, y), kept inside the image.
function moved([left, top, right, bottom], x, y) {
  const dx = Math.min(1 - right, Math.max(-left, x));
  const dy = Math.min(1 - bottom, Math.max(-top, y));
  return [left + dx, top + dy, right + dx, bottom + dy];
}

// The box with its right bottom corner moved by (x, y).
function resized([left, top, right, bottom], x, y) {
  return [left, top, clamp(Math.max(left + LEAST, right + x)), clamp(Math.max(top + LEAST, bottom + y))];
}

function at(event) {
  const area = pane.getBoundingClientRect();
  return [clamp((event.clientX - area.left) / area.width), clamp((event.clientY - area.top) / area.height)];
}

pane.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  const hit = event.target.closest(".atlas-box");
  const start = at(event);
  if (hit) {
    const index = Number(hit.dataset.index);
    drag = { index, start, from: boxes[index], change: event.target.matches("i") ? resized : moved, went: false };
    hit.focus({ preventScroll: true }); // the image must not move under the pointer
  } else {
    drag = { index: boxes.length, start, from: null, went: false };
  }
  pane.setPointerCapture(event.pointerId);
  event.preventDefault();
});
pane.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const [x, y] = at(event);
  const [x0, y0] = drag.start;
  drag.went = true;
  captions = [];
  boxes[drag.index] = drag.from
    ? drag.change(drag.from, x - x0, y - y0)
    : [Math.min(x, x0), Math.min(y, y0), Math.max(x, x0), Math.max(y, y0)];
  draw();
});
function release() {
  if (!drag) return;
  const { index, went } = drag;
  drag = null;
  const box = boxes[index];
  if (box && (box[2] - box[0] < LEAST || box[3] - box[1] < LEAST)) {
    boxes.splice(index, 1);
  }
  if (went) commit();
}
pane.addEventListener("pointerup", release);
pane.addEventListener("pointercancel", release);

pane.addEventListener("keydown", (event) => {
  const hit = event.target.closest(".atlas-box");
  if (!hit) return;
  const index = Number(hit.dataset.index);
  const steps = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
  if (steps[event.key]) {
    boxes[index] = (event.shiftKey ? resized : moved)(boxes[index], ...steps[event.key]);
    commit();
  } else if (event.key === "Delete" || event.key === "Backspace") {
    boxes.splice(index, 1);
    commit();
    draw(Math.max(0, index - 1));
  } else {
    return;
  }
  event.preventDefault();
});

element.querySelector("[data-add]").addEventListener("click", () => {
  // Each new box lies a little aside of the last one.
  const shift = (boxes.length % 5) * 0.06;
  boxes.push([0.2 + shift, 0.2 + shift, 0.6 + shift, 0.6 + shift]);
  commit();
  draw(boxes.length - 1);
});
element.querySelector("[data-clear]").addEventListener("click", () => {
  boxes = [];
  commit();
});

// The pane has the shape of the image: places on it are shares of its sides.
image.addEventListener("load", () => pane.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight));
watch("value", () => { if (!drag) read(); });
read();
