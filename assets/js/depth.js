// A depth map over its image: a slider fades it; pointing at a place, or moving there by arrow keys, shows the words of that
// place. Runs inside Gradio's HTML component; its markup is that of demos/depthclip/draw.py (overlay).
const zh = window.atlasLang === "zh";
let place = [0, 0];

function root() { return element.querySelector(".dc-stage"); }

function show(row, column) {
  const stage = root();
  const { words, probabilities, depth } = JSON.parse(stage.dataset.places);
  const rows = depth.length;
  const columns = depth[0].length;
  place = [Math.min(rows - 1, Math.max(0, row)), Math.min(columns - 1, Math.max(0, column))];
  const [i, j] = place;
  const parts = words
    .map((word, k) => [word, probabilities[k][i][j]])
    .sort((a, b) => b[1] - a[1])
    .slice(0, 4)
    .map(([word, share]) => `${word} ${Math.round(100 * share)}%`);
  const metres = depth[i][j].toFixed(2);
  stage.querySelector("[role=status]").textContent = zh
    ? `第 ${i + 1} 行第 ${j + 1} 列：${metres} 米 = ${parts.join("，")}`
    : `Row ${i + 1}, column ${j + 1}: ${metres} m = ${parts.join(", ")}`;
}

function at(event) {
  const pane = event.target.closest(".dc-pane");
  if (!pane) return;
  const box = pane.getBoundingClientRect();
  const { depth } = JSON.parse(root().dataset.places);
  show(
    Math.floor((event.clientY - box.top) / box.height * depth.length),
    Math.floor((event.clientX - box.left) / box.width * depth[0].length),
  );
}

element.addEventListener("pointermove", at);
element.addEventListener("pointerdown", at);
element.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!steps || !event.target.closest(".dc-pane")) return;
  event.preventDefault();
  show(place[0] + steps[0], place[1] + steps[1]);
});
element.addEventListener("input", (event) => {
  if (event.target.type === "range") root().querySelector(".dc-map").style.opacity = event.target.value;
});
