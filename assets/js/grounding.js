// The sentence over a picture with boxes, and the threshold. Runs behind detect.js in the same component, whose value is what
// demos/glip_draw.py made: every box above the floor is there, so that neither a press nor the threshold asks a server.
const zh = window.atlasLang === "zh";
const phrasesOf = (wrap) => [...wrap.querySelectorAll(".gl-phrase")];
const boxesOf = (wrap) => [...wrap.querySelectorAll(".atlas-det-box")];
const partsOf = (wrap) => [...wrap.querySelectorAll("[data-pick]")]; // boxes, and the names on them
const scoreOf = (wrap, box) => Number(wrap.dataset.scores.split(" ")[Number(box.dataset.pick)]);

function say(wrap) {
  const status = wrap.querySelector(".gl-said");
  const line = Number(wrap.dataset.threshold).toFixed(2);
  const left = boxesOf(wrap).filter((box) => !box.hidden);
  const pressed = phrasesOf(wrap).find((phrase) => phrase.getAttribute("aria-pressed") === "true");
  if (pressed) {
    const name = pressed.firstChild.textContent;
    const own = left.filter((box) => box.dataset.group === pressed.dataset.group).map((box) => scoreOf(wrap, box)).sort((a, b) => b - a);
    const scores = own.slice(0, 8).map((score) => score.toFixed(2)).join(", ") + (own.length > 8 ? " …" : "");
    const count = own.length === 1 ? "one box" : `${own.length} boxes`;
    status.textContent = own.length
      ? (zh ? `“${name}”：${own.length} 个框，${scores}` : `“${name}”: ${count}, ${scores}`)
      : (zh ? `“${name}”在 ${line} 以上没有框` : `“${name}” has no box above ${line}`);
    return;
  }
  const best = Math.max(0, ...boxesOf(wrap).map((box) => scoreOf(wrap, box))).toFixed(2);
  const count = left.length === 1 ? "1 box" : `${left.length} boxes`;
  const none = boxesOf(wrap).length
    ? (zh ? `没有框达到 ${line}；最好的只有 ${best}。请把阈值向左移。` : `No box reaches ${line}; the best one scores ${best}. Move the threshold to the left.`)
    : (zh ? "图里没有任何地方回应这些词。" : "Nothing in the picture answers to these words.");
  const some = zh ? `阈值 ${line} 时有 ${left.length} 个框。` : `${count} at ${line}.`;
  status.textContent = `${left.length ? some : none} ${status.dataset.tip}`;
}

function cut(wrap, threshold) {
  wrap.dataset.threshold = threshold;
  const counts = {};
  partsOf(wrap).forEach((part) => { part.hidden = scoreOf(wrap, part) < threshold; });
  boxesOf(wrap).filter((box) => !box.hidden).forEach((box) => {
    counts[box.dataset.group] = (counts[box.dataset.group] || 0) + 1;
  });
  phrasesOf(wrap).forEach((phrase) => {
    const count = counts[phrase.dataset.group] || 0;
    phrase.querySelector("b").textContent = count;
    phrase.classList.toggle("none", !count);
  });
  say(wrap);
}

function release(wrap) {
  [...phrasesOf(wrap), ...boxesOf(wrap)].forEach((node) => node.setAttribute("aria-pressed", "false"));
  only(wrap.querySelector(".atlas-det"), null);
}

// detect.js keeps a phrase that was pressed; a press on a box presses its phrase, a second one lets go.
let last = null;
element.addEventListener("click", (event) => {
  const wrap = event.target.closest(".gl-figure");
  if (!wrap) return;
  const part = event.target.closest("[data-pick]");
  const phrase = part && phrasesOf(wrap).find((one) => one.dataset.group === part.dataset.group);
  if (phrase && part.dataset.pick !== last) {
    phrasesOf(wrap).forEach((one) => one.setAttribute("aria-pressed", String(one === phrase)));
    only(figureOf(part), part.dataset.group);
    last = part.dataset.pick;
  } else if (part || !event.target.closest("button[data-group]")) {
    release(wrap);
    last = null;
  } else {
    boxesOf(wrap).forEach((box) => box.setAttribute("aria-pressed", "false"));
    last = null;
  }
  say(wrap);
});
element.addEventListener("keydown", (event) => {
  const wrap = event.target.closest(".gl-figure");
  if (!wrap || event.key !== "Escape") return;
  release(wrap);
  last = null;
  say(wrap);
});
// Sent by the page's threshold slider (demos/glip.py).
element.addEventListener("atlas-threshold", (event) => {
  element.querySelectorAll(".gl-figure").forEach((wrap) => cut(wrap, Number(event.detail)));
});
// Not watch("value"): that comes before the new figure is in the page.
function begin() {
  element.querySelectorAll(".gl-figure:not([data-ready])").forEach((wrap) => {
    wrap.dataset.ready = "";
    last = null;
    cut(wrap, Number(wrap.dataset.threshold));
  });
}
new MutationObserver(begin).observe(element, { childList: true, subtree: true });
begin();
