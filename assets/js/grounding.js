// The prompt over an image with boxes, and the threshold. Runs behind detect.js in the same component, whose value is made by
// demos/glip/draw.py: it has every box above the floor, so that neither a click nor the threshold needs the server.
const zh = window.atlasLang === "zh";
const phrasesOf = (wrap) => [...wrap.querySelectorAll(".gl-phrase")];
const boxesOf = (wrap) => [...wrap.querySelectorAll(".atlas-det-box")];
const partsOf = (wrap) => [...wrap.querySelectorAll("[data-pick]")]; // boxes, and the names on them
// Phrases with a minimum score of their own: the slider does not move their boxes.
const settledOf = (wrap) => wrap.dataset.settled.split(" ").filter(Boolean);
const scoreOf = (wrap, box) => Number(wrap.dataset.scores.split(" ")[Number(box.dataset.pick)]);

function say(wrap) {
  const status = wrap.querySelector(".gl-status");
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
      : (zh ? `“${name}”没有得分达到 ${line} 的框` : `“${name}” has no box that scores ${line} or more`);
    return;
  }
  const best = Math.max(0, ...boxesOf(wrap).map((box) => scoreOf(wrap, box))).toFixed(2);
  const count = left.length === 1 ? "1 box scores" : `${left.length} boxes score`;
  const none = boxesOf(wrap).length
    ? (zh ? `没有得分达到 ${line} 的框，最高得分是 ${best}。请降低“最低得分”。` : `No box scores ${line} or more; the best score is ${best}. Lower the minimum score.`)
    : (zh ? "图片中没有与这些词对应的内容。" : "Nothing in the image matches these words.");
  const reach = left.length === 1 ? "1 box reaches its minimum score." : `${left.length} boxes reach their minimum scores.`;
  const some = settledOf(wrap).length
    ? (zh ? `达到各自最低得分的框有 ${left.length} 个。` : reach)
    : (zh ? `得分不低于 ${line} 的框有 ${left.length} 个。` : `${count} ${line} or more.`);
  status.textContent = `${left.length ? some : none} ${status.dataset.tip}`;
}

function cut(wrap, threshold) {
  wrap.dataset.threshold = threshold;
  const counts = {};
  const settled = settledOf(wrap);
  partsOf(wrap).forEach((part) => {
    part.hidden = scoreOf(wrap, part) < threshold && !settled.includes(part.dataset.group);
  });
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

// detect.js keeps a phrase that was clicked; a click on a box selects its phrase, a second click clears the selection.
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
// Sent by the threshold slider of the page (demos/glip/page.py).
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
