// Drawings of strokes: drawn while they come, replayed and edited. Runs inside Gradio's HTML component, which
// gives `element`, `props`, `trigger` and `watch`. Its value is the JSON text that demos/draw/strokes.py writes; what
// a person edits goes back as {"edited": {"kept": [...], "points": [[x, y, ...], ...]}}, places on the 224 canvas.
const zh = window.atlasLang === "zh";
const say = (english, chinese) => (zh ? chinese : english);
const NS = "http://www.w3.org/2000/svg";
const SIDE = 224;
const SECONDS = 5; // of a replay
const stage = element.querySelector(".sketch");
const part = (name) => stage.querySelector(`[data-${name}]`);
const columns = part("columns"), aside = part("aside"), curve = part("curve"), tools = part("tools");
const slider = part("replay"), play = part("play"), edit = part("edit"), moment = part("moment");
const worth = part("worth");

let shown = {};       // the last message
let frames = [];      // [{step, columns}] of this run, for the replay
let trace = [];       // [[step, losses by column and seed], ...]
let strokes = null;   // while editing: [{kept, points}]
let gone = new Set(); // strokes that were taken away to see what they are worth
let playing = 0;

const svg = (name, attributes = {}, parent) => {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent?.append(made);
  return made;
};
const html = (name, className, text, parent) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  parent?.append(made);
  return made;
};
const digits = (value) => (value === 0 || Math.abs(value) >= 0.1 ? value.toFixed(3) : value.toPrecision(2));

function read() {
  let value;
  try { value = JSON.parse(props.value || "{}"); } catch { return; }
  // What this script sent itself is on the screen already.
  if (value.edited) return;
  if (value.run !== shown.run) {
    frames = []; trace = []; gone = new Set();
    leave();
    stop();
    columns.replaceChildren();
    aside.querySelector(".sketch-picture")?.remove();
  }
  shown = { ...value, picture: value.picture || (value.run === shown.run ? shown.picture : "") };
  if (value.losses) trace.push([value.step, value.losses]);
  if (value.curves) trace = value.curves;
  if (value.history) frames = value.history;
  else if (value.columns) frames.push({ step: value.step, columns: value.columns });
  stage.hidden = !value.columns;
  if (!value.columns) return;
  paint(value.columns);
  side();
  plot();
  tools.hidden = !value.final || frames.length < 2;
  edit.hidden = !value.edit;
  edit.setAttribute("aria-pressed", "false");
  slider.max = frames.length - 1;
  slider.value = frames.length - 1;
  moment.textContent = value.step === undefined ? "" : say(`step ${value.step}`, `第 ${value.step} 步`);
}

// --- the drawings ---------------------------------------------------------------------------------------------

function paint(made) {
  stage.classList.toggle("many", made.length > 1);
  while (columns.children.length > made.length) columns.lastChild.remove();
  made.forEach((column, i) => {
    let figure = columns.children[i];
    if (!figure) {
      figure = html("figure", `sketch-column c${i % 4}`, undefined, columns);
      html("figcaption", "", "", figure);
      svg("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, role: "img" }, figure);
      html("div", "sketch-opinions", undefined, figure);
    }
    const [title, board, labels] = figure.children;
    title.textContent = column.title || "";
    title.hidden = !column.title;
    board.style.background = column.paper || "#fff";
    board.setAttribute("aria-label", say(`A drawing of ${column.d.length} strokes`, `${column.d.length} 笔画成的画`));
    const paths = [...board.querySelectorAll("path.stroke")];
    column.d.forEach((d, k) => {
      const path = paths[k] || svg("path", { class: "stroke", fill: "none", "stroke-linecap": "round", "stroke-linejoin": "round" }, board);
      path.setAttribute("d", d);
      path.setAttribute("stroke", column.c ? column.c[k] : "#000");
      path.setAttribute("stroke-width", Array.isArray(column.w) ? column.w[k] : column.w);
      path.classList.toggle("gone", gone.has(k));
    });
    paths.slice(column.d.length).forEach((path) => path.remove());
    const found = shown.labels?.[i] || [];
    labels.hidden = !found.length;
    // What each model reads in the drawing.
    labels.replaceChildren(...found.map(({ by, top }) => {
      const opinion = html("div");
      if (by) html("p", "", by, opinion);
      const list = html("ol", "sketch-labels", undefined, opinion);
      for (const [label, share] of top) {
        const row = html("li", "", undefined, list);
        const bar = html("span", "bar", undefined, row);
        bar.style.width = `${100 * share}%`;
        html("b", "", label, row);
        html("span", "share", `${Math.round(100 * share)}%`, row);
      }
      return opinion;
    }));
  });
  if (strokes) handles();
  if (shown.worth) valued();
}

function side() {
  if (shown.picture && !aside.querySelector(".sketch-picture")) {
    const figure = html("figure", "sketch-picture");
    const image = html("img", "", undefined, figure);
    image.alt = say("The picture that is sketched", "被画的图片");
    image.src = shown.picture;
    aside.prepend(figure);
  }
  aside.hidden = !shown.picture && !trace.length;
}

// --- the curve of the loss ------------------------------------------------------------------------------------

function plot() {
  curve.hidden = trace.length < 2;
  if (curve.hidden) return;
  const W = 320, H = 190, left = 40, bottom = 26, top = 8;
  const end = Math.max(shown.steps || 1, 1);
  const values = trace.flatMap(([, losses]) => losses.flat()).filter(Number.isFinite);
  let low = Math.min(0, ...values), high = Math.max(...values);
  if (low < 0) { low = Math.min(...values); }
  if (high - low < 1e-9) high = low + 1;
  const x = (step) => left + (W - left - 6) * (step / end);
  const y = (loss) => top + (H - top - bottom) * (1 - (loss - low) / (high - low));
  const board = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": say("Loss by step", "各步的损失") });
  for (const share of [0, 0.5, 1]) {
    const value = low + share * (high - low);
    svg("line", { class: "grid", x1: left, x2: W - 6, y1: y(value), y2: y(value) }, board);
    svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, board).textContent = value.toFixed(2);
    svg("text", { x: x(share * end), y: H - 8, "text-anchor": share === 0 ? "start" : share === 1 ? "end" : "middle" }, board).textContent = Math.round(share * end);
  }
  const last = trace[trace.length - 1][1];
  last.forEach((seeds, i) => {
    const best = seeds.indexOf(Math.min(...seeds));
    seeds.forEach((_, n) => {
      const line = trace.filter(([, losses]) => Number.isFinite(losses[i]?.[n])).map(([step, losses]) => `${x(step).toFixed(1)},${y(losses[i][n]).toFixed(1)}`);
      svg("polyline", { class: `line c${i % 4}${n === best ? "" : " other"}`, points: line.join(" ") }, board);
    });
  });
  const now = last.map((seeds) => digits(Math.min(...seeds))).join(" · ");
  const title = html("figcaption");
  html("b", "", say("Loss ", "损失 ") + now, title);
  html("span", "", say(" by step", "（按步数）"), title);
  curve.replaceChildren(title, board);
}

// --- replay ---------------------------------------------------------------------------------------------------

// The moment i, which may lie between two that came: their numbers are mixed.
function at(i) {
  const first = Math.min(Math.floor(i), frames.length - 1), next = Math.min(first + 1, frames.length - 1);
  const share = i - first;
  slider.value = i;
  paint(frames[first].columns.map((column, k) => {
    const other = frames[next].columns[k];
    const mixed = share > 0 && other.d.length === column.d.length;
    return { ...shown.columns[k], ...column, d: mixed ? column.d.map((d, n) => between(d, other.d[n], share)) : column.d };
  }));
  moment.textContent = say(`step ${frames[first].step}`, `第 ${frames[first].step} 步`);
}
function between(from, to, share) {
  const a = numbers(from), b = numbers(to);
  return a.length === b.length ? written(a.map((value, i) => value + share * (b[i] - value))) : from;
}
function stop() {
  cancelAnimationFrame(playing);
  playing = 0;
  play.setAttribute("aria-pressed", "false");
}
slider.addEventListener("input", () => { stop(); leave(); at(Number(slider.value)); });
play.addEventListener("click", () => {
  if (playing) return stop();
  leave();
  play.setAttribute("aria-pressed", "true");
  const end = frames.length - 1;
  const from = Number(slider.value) >= end ? 0 : Number(slider.value);
  let begin = 0;
  const tick = (now) => {
    begin ||= now;
    const i = Math.min(end, from + ((now - begin) / (1000 * SECONDS)) * end);
    at(i);
    if (i >= end) stop();
    else playing = requestAnimationFrame(tick);
  };
  playing = requestAnimationFrame(tick);
});

// --- editing --------------------------------------------------------------------------------------------------

const numbers = (d) => d.match(/-?[\d.]+/g).map(Number);
const written = (p) => `M${p[0].toFixed(1)} ${p[1].toFixed(1)}C${p.slice(2).map((v) => v.toFixed(1)).join(" ")}`;

edit.addEventListener("click", () => {
  if (strokes) return leave();
  stop();
  at(frames.length - 1);
  strokes = shown.columns[0].d.map((d, kept) => ({ kept, points: numbers(d) }));
  edit.setAttribute("aria-pressed", "true");
  handles();
});

function leave() {
  if (!strokes) return;
  strokes = null;
  edit.setAttribute("aria-pressed", "false");
  columns.querySelector("g.handles")?.remove();
  stage.classList.remove("editing");
}

function handles() {
  const board = columns.querySelector("svg");
  stage.classList.add("editing");
  board.querySelector("g.handles")?.remove();
  const group = svg("g", { class: "handles" }, board);
  strokes.forEach(({ points }, k) => {
    for (let a = 0; a + 3 < points.length; a += 6) {
      svg("polyline", { points: [0, 2, 4, 6].filter((o) => a + o + 1 < points.length).map((o) => `${points[a + o]},${points[a + o + 1]}`).join(" ") }, group);
    }
    for (let i = 0; i < points.length; i += 2) {
      const end = i % 6 === 0;
      svg("circle", {
        class: end ? "end" : "bend", r: end ? 2.9 : 2.2, cx: points[i], cy: points[i + 1], tabindex: 0, role: "button",
        "data-stroke": k, "data-point": i / 2,
        "aria-label": say(
          `Stroke ${k + 1}, point ${i / 2 + 1}, at ${Math.round(points[i])}, ${Math.round(points[i + 1])}. Arrows move it, Delete removes the stroke.`,
          `第 ${k + 1} 笔的第 ${i / 2 + 1} 个点，位于 ${Math.round(points[i])}，${Math.round(points[i + 1])}。方向键移动，Delete 删除这一笔。`,
        ),
      }, group);
    }
  });
}

function moved(k, i, x, y, focus) {
  const { points } = strokes[k];
  points[2 * i] = Math.min(SIDE, Math.max(0, x));
  points[2 * i + 1] = Math.min(SIDE, Math.max(0, y));
  refresh(focus && [k, i]);
}

function refresh(focus) {
  const before = shown.columns[0];
  const pick = (list) => (Array.isArray(list) ? list : null);
  const column = { ...before, d: strokes.map(({ points }) => written(points)) };
  for (const key of ["c", "w"]) {
    if (pick(shown.original?.[key] || before[key])) column[key] = strokes.map(({ kept }) => (shown.original?.[key] || before[key])[kept]);
  }
  shown.original ||= before;
  shown.columns = [column];
  frames[frames.length - 1] = { ...frames[frames.length - 1], columns: [column] };
  paint([column]);
  if (focus) columns.querySelector(`circle[data-stroke="${focus[0]}"][data-point="${focus[1]}"]`)?.focus();
}

function send() {
  props.value = JSON.stringify({ edited: { kept: strokes.map((s) => s.kept), points: strokes.map((s) => s.points.map((v) => Number(v.toFixed(2)))) } });
  trigger("input");
}

let drag = null;
columns.addEventListener("pointerdown", (event) => {
  const hit = event.target.closest?.("circle");
  if (!hit || !strokes || event.button) return;
  const board = columns.querySelector("svg");
  drag = { k: Number(hit.dataset.stroke), i: Number(hit.dataset.point), board, went: false };
  board.setPointerCapture(event.pointerId);
  event.preventDefault();
});
columns.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const area = drag.board.getBoundingClientRect();
  drag.went = true;
  moved(drag.k, drag.i, (SIDE * (event.clientX - area.left)) / area.width, (SIDE * (event.clientY - area.top)) / area.height);
});
function release() {
  if (!drag) return;
  const { went } = drag;
  drag = null;
  if (went) send();
}
columns.addEventListener("pointerup", release);
columns.addEventListener("pointercancel", release);
columns.addEventListener("keydown", (event) => {
  const hit = event.target.closest?.("circle");
  if (!hit || !strokes) return;
  const k = Number(hit.dataset.stroke), i = Number(hit.dataset.point);
  const step = event.shiftKey ? 10 : 2;
  const steps = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (steps[event.key]) {
    moved(k, i, strokes[k].points[2 * i] + steps[event.key][0], strokes[k].points[2 * i + 1] + steps[event.key][1], true);
  } else if ((event.key === "Delete" || event.key === "Backspace") && strokes.length > 1) {
    strokes.splice(k, 1);
    refresh([Math.max(0, k - 1), 0]);
  } else {
    return;
  }
  event.preventDefault();
  send();
});

// --- what a stroke is worth -------------------------------------------------------------------------------------

// The more a stroke is worth, the darker it is; one that is pressed goes, and the line below says what the loss says.
function valued() {
  const most = Math.max(...shown.worth.map(Math.abs), 1e-9);
  columns.querySelectorAll("path.stroke").forEach((path, k) => {
    const share = Math.max(0, shown.worth[k]) / most;
    path.setAttribute("tabindex", 0);
    path.setAttribute("role", "button");
    path.setAttribute("aria-pressed", gone.has(k));
    path.style.strokeOpacity = 0.25 + 0.75 * share;
    path.setAttribute("aria-label", told(k));
  });
}
const told = (k) => {
  const change = shown.worth[k], share = Math.round((100 * change) / shown.whole);
  return say(
    `Without stroke ${k + 1} the loss ${change >= 0 ? "grows" : "falls"} from ${digits(shown.whole)} to ${digits(shown.whole + change)} (${share >= 0 ? "+" : ""}${share}%).`,
    `去掉第 ${k + 1} 笔，损失从 ${digits(shown.whole)} ${change >= 0 ? "升到" : "降到"} ${digits(shown.whole + change)}（${share >= 0 ? "+" : ""}${share}%）。`,
  );
};
function take(event) {
  const path = event.target.closest?.("path.stroke");
  if (!shown.worth || !path) return;
  const k = [...columns.querySelectorAll("path.stroke")].indexOf(path);
  gone = gone.has(k) ? new Set() : new Set([k]);
  columns.querySelectorAll("path.stroke").forEach((other, i) => {
    other.classList.toggle("gone", gone.has(i));
    other.setAttribute("aria-pressed", gone.has(i));
  });
  worth.hidden = !gone.size;
  worth.textContent = gone.size ? told(k) : "";
}
columns.addEventListener("click", take);
columns.addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === " ") { take(event); if (shown.worth) event.preventDefault(); }
});

watch("value", read);
read();
