// The label of a mask where somebody points. Runs inside Gradio's HTML component, whose value demos/draw/masks.py makes: each
// .atlas-seg carries its label map as an image (index in red and green, probability in blue), so that pointing asks no
// server. Opacity stays as it was set when the mask is drawn again.
const zh = window.atlasLang === "zh";
const STEP = 0.02; // of an arrow key
const maps = new WeakMap();
let opacity = null;
let place = [0.5, 0.5];

const figureOf = (node) => node.closest(".atlas-seg");
const buttonOf = (figure, index) => figure.querySelector(`.atlas-seg-legend [data-label="${index}"]`);

// The label map's pixels, read once for each mask.
function pixels(figure) {
  const image = figure.querySelector(".atlas-seg-map");
  let found = maps.get(image);
  if (!found && image.complete && image.naturalWidth) {
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    found = context.getImageData(0, 0, canvas.width, canvas.height);
    maps.set(image, found);
  }
  return found;
}

function read(figure, x, y) {
  const map = pixels(figure);
  if (!map) return null;
  const column = Math.min(map.width - 1, Math.max(0, Math.floor(x * map.width)));
  const row = Math.min(map.height - 1, Math.max(0, Math.floor(y * map.height)));
  const at = 4 * (row * map.width + column);
  return { index: map.data[at] + 256 * map.data[at + 1], probability: map.data[at + 2] / 255 };
}

// The name, and how sure the mask is of it, at a place given as shares of the picture.
function point(stage, x, y) {
  const figure = figureOf(stage);
  const found = read(figure, x, y);
  const tip = stage.querySelector(".atlas-seg-tip");
  const button = found && buttonOf(figure, found.index);
  if (!button) return "";
  const sure = found.probability ? ` ${Math.round(100 * found.probability)}%` : "";
  tip.textContent = button.querySelector("span").textContent + sure;
  tip.style.left = `${100 * x}%`;
  tip.style.top = `${100 * y}%`;
  tip.classList.toggle("left", x > 0.6);
  tip.classList.toggle("below", y < 0.15);
  tip.hidden = false;
  return tip.textContent;
}

// Everything but one label fades; null brings it back.
function only(figure, index) {
  const canvas = figure.querySelector("canvas");
  const map = index === null ? null : pixels(figure);
  canvas.style.display = map ? "block" : "none"; // Gradio's styles show a canvas that is only `hidden`
  figure.classList.toggle("only", Boolean(map));
  figure.querySelectorAll(".atlas-seg-name").forEach((name) => {
    name.hidden = Boolean(map) && Number(name.dataset.label) !== index;
  });
  if (!map) return;
  canvas.width = map.width;
  canvas.height = map.height;
  const context = canvas.getContext("2d");
  const veil = context.createImageData(map.width, map.height);
  for (let at = 0; at < veil.data.length; at += 4) {
    const inside = map.data[at] + 256 * map.data[at + 1] === index;
    veil.data.set([16, 21, 27, inside ? 0 : 190], at);
  }
  context.putImageData(veil, 0, 0);
}

const pinned = (figure) => {
  const button = figure.querySelector('.atlas-seg-legend [aria-pressed="true"]');
  return button ? Number(button.dataset.label) : null;
};

element.addEventListener("pointermove", (event) => {
  const stage = event.target.closest(".atlas-seg-stage");
  element.querySelectorAll(".atlas-seg-tip").forEach((tip) => { tip.hidden = true; });
  if (!stage) return;
  const area = stage.getBoundingClientRect();
  place = [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
  point(stage, ...place);
});
element.addEventListener("pointerleave", () => {
  element.querySelectorAll(".atlas-seg-tip").forEach((tip) => { tip.hidden = true; });
});
["pointerover", "focusin"].forEach((kind) => element.addEventListener(kind, (event) => {
  const button = event.target.closest(".atlas-seg-legend button");
  if (button) only(figureOf(button), Number(button.dataset.label));
}));
["pointerout", "focusout"].forEach((kind) => element.addEventListener(kind, (event) => {
  const button = event.target.closest(".atlas-seg-legend button");
  if (button) only(figureOf(button), pinned(figureOf(button)));
}));
// A finger cannot hover: a tap keeps a label until it is tapped again.
element.addEventListener("click", (event) => {
  const button = event.target.closest(".atlas-seg-legend button");
  if (!button) return;
  const figure = figureOf(button);
  const on = button.getAttribute("aria-pressed") !== "true";
  figure.querySelectorAll(".atlas-seg-legend button").forEach((other) => other.setAttribute("aria-pressed", "false"));
  button.setAttribute("aria-pressed", String(on));
  only(figure, pinned(figure));
});
element.addEventListener("keydown", (event) => {
  const stage = event.target.closest(".atlas-seg-stage");
  const steps = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
  if (!stage || !steps[event.key]) return;
  place = place.map((value, i) => Math.min(1, Math.max(0, value + steps[event.key][i])));
  const said = point(stage, ...place);
  const where = place.map((value) => `${Math.round(100 * value)}%`).join(", ");
  figureOf(stage).querySelector("[role=status]").textContent = zh ? `${where} 处：${said}` : `At ${where}: ${said}`;
  event.preventDefault();
});
element.addEventListener("input", (event) => {
  if (!event.target.matches(".atlas-seg input[type=range]")) return;
  opacity = event.target.value;
  figureOf(event.target).style.setProperty("--opacity", opacity);
});
// Not watch("value"): that comes before the new mask is in the page.
new MutationObserver(() => {
  if (opacity === null) return;
  element.querySelectorAll(".atlas-seg").forEach((figure) => {
    figure.style.setProperty("--opacity", opacity);
    figure.querySelector("input[type=range]").value = opacity;
  });
}).observe(element, { childList: true, subtree: true });
