// Words over patches: pointing at a word (or focusing it) shows its share of each patch; pointing at a patch, or moving there by
// arrow keys, shows its words. Runs inside Gradio's HTML component; its markup is that of demos/vilt/draw.py (words_over_patches).
const zh = window.atlasLang === "zh";
let place = [0, 0];

function planOf(stage) {
  stage.plan = stage.plan || JSON.parse(stage.dataset.plan);
  return stage.plan;
}

function say(stage, text) { stage.querySelector("[role=status]").textContent = text; }

function paint(stage, values) {
  const flat = values.flat();
  stage.querySelectorAll(".vl-cells i").forEach((cell, at) => { cell.style.opacity = flat[at]; });
}

function word(stage, at) {
  const { words, heat, share, even } = planOf(stage);
  stage.querySelectorAll("[data-word]").forEach((button) => {
    button.setAttribute("aria-pressed", String(Number(button.dataset.word) === at));
  });
  stage.querySelector(".vl-pane").classList.add("shown");
  paint(stage, heat[at]);
  const most = Math.max(...share[at].flat());
  const times = (most / even).toFixed(1);
  say(stage, zh
    ? `“${words[at]}”：份额最大的图块占 ${Math.round(100 * most)}%，是平均分配的 ${times} 倍。`
    : `“${words[at]}”: its greatest patch takes ${Math.round(100 * most)}%, ${times} times an even share.`);
}

function patch(stage, row, column) {
  const { words, share } = planOf(stage);
  const rows = share[0].length;
  const columns = share[0][0].length;
  place = [Math.min(rows - 1, Math.max(0, row)), Math.min(columns - 1, Math.max(0, column))];
  const [i, j] = place;
  const total = share.reduce((sum, map) => sum + map[i][j], 0) || 1;
  const parts = words
    .map((name, k) => [name, share[k][i][j] / total])
    .sort((a, b) => b[1] - a[1])
    .slice(0, 4)
    .map(([name, part]) => `${name} ${Math.round(100 * part)}%`);
  stage.querySelectorAll(".vl-cells i").forEach((cell, at) => {
    cell.classList.toggle("at", at === i * columns + j);
  });
  say(stage, zh
    ? `第 ${i + 1} 行第 ${j + 1} 列的图块：${parts.join("，")}`
    : `Patch in row ${i + 1}, column ${j + 1}: ${parts.join(", ")}`);
}

function over(event) {
  const stage = event.target.closest(".vl-stage");
  if (!stage) return;
  const button = event.target.closest("[data-word]");
  if (button) { word(stage, Number(button.dataset.word)); return; }
  const pane = event.target.closest(".vl-pane");
  if (!pane) return;
  const box = pane.getBoundingClientRect();
  const { share } = planOf(stage);
  patch(
    stage,
    Math.floor((event.clientY - box.top) / box.height * share[0].length),
    Math.floor((event.clientX - box.left) / box.width * share[0][0].length),
  );
}

element.addEventListener("pointermove", over);
element.addEventListener("pointerdown", over);
element.addEventListener("focusin", (event) => {
  const button = event.target.closest("[data-word]");
  if (button) word(button.closest(".vl-stage"), Number(button.dataset.word));
});
element.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  const pane = event.target.closest(".vl-pane");
  if (!steps || !pane) return;
  event.preventDefault();
  patch(pane.closest(".vl-stage"), place[0] + steps[0], place[1] + steps[1]);
});
