// One group across several images. Runs inside Gradio's HTML component, whose value demos/groupvit/draw.py makes (group_row):
// each image carries its two maps of groups as one image, stage 1 in red, stage 2 in green.
const zh = window.atlasLang === "zh";
const maps = new WeakMap();
let stage = 1;
let chosen = null;

function pixels(picture) {
  const image = picture.querySelector(".gv-maps");
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

// All groups in their colours, or one of them bright and the rest under a veil; true where the group is there.
function paint(picture, colours) {
  const map = pixels(picture);
  if (!map) return false;
  const canvas = picture.querySelector("canvas");
  canvas.width = map.width;
  canvas.height = map.height;
  const context = canvas.getContext("2d");
  const layer = context.createImageData(map.width, map.height);
  const row = 4 * map.width;
  let here = false;
  for (let at = 0; at < layer.data.length; at += 4) {
    const group = map.data[at + stage];
    const edge = (at >= 4 && map.data[at - 4 + stage] !== group) || (at >= row && map.data[at - row + stage] !== group);
    if (chosen === null) {
      layer.data.set([...colours[group], edge ? 255 : 150], at);
    } else if (group === chosen) {
      here = true;
      layer.data.set(edge ? [255, 213, 0, 255] : [255, 213, 0, 40], at);
    } else {
      layer.data.set(edge && at >= 4 && map.data[at - 4 + stage] === chosen ? [255, 213, 0, 255] : [16, 21, 27, 205], at);
    }
  }
  context.putImageData(layer, 0, 0);
  return here;
}

function show() {
  const root = element.querySelector(".gv-row");
  if (!root) return;
  const colours = JSON.parse(root.dataset.colours).map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  root.querySelectorAll("[data-stage]").forEach((button) => {
    button.setAttribute("aria-pressed", String(Number(button.dataset.stage) === stage));
  });
  root.querySelectorAll(".gv-groups").forEach((list) => { list.hidden = Number(list.dataset.of) !== stage; });
  root.querySelectorAll("[data-group]").forEach((button) => {
    const own = Number(button.closest(".gv-groups").dataset.of) === stage;
    button.setAttribute("aria-pressed", String(own && Number(button.dataset.group) === chosen));
  });
  const pictures = [...root.querySelectorAll(".gv-picture")];
  const found = pictures.filter((picture) => {
    const here = paint(picture, colours);
    picture.classList.toggle("without", chosen !== null && !here);
    return here;
  }).length;
  if (chosen !== null) {
    root.querySelector("[role=status]").textContent = zh
      ? `第 ${stage + 1} 阶段第 ${chosen} 组：出现在 ${pictures.length} 张图中的 ${found} 张里`
      : `Stage ${stage + 1}, group ${chosen}: in ${found} of ${pictures.length} images`;
  }
}

function choose(group) {
  chosen = group === chosen ? null : group;
  show();
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-stage], [data-group]");
  if (button && button.dataset.stage !== undefined) {
    stage = Number(button.dataset.stage);
    chosen = null;
    show();
  } else if (button) {
    choose(Number(button.dataset.group));
  } else {
    const picture = event.target.closest(".gv-picture");
    const map = picture && pixels(picture);
    if (!map) return;
    const area = picture.getBoundingClientRect();
    const column = Math.min(map.width - 1, Math.floor(((event.clientX - area.left) / area.width) * map.width));
    const row = Math.min(map.height - 1, Math.floor(((event.clientY - area.top) / area.height) * map.height));
    choose(map.data[4 * (row * map.width + column) + stage]);
  }
});
watch("value", () => {
  chosen = null;
  element.querySelectorAll(".gv-maps").forEach((image) => image.decode().then(show, () => {}));
});
