// A point cloud that turns, by itself until it is touched, then by mouse, touch and arrow keys. Runs inside Gradio's HTML
// component; its value is the JSON text {"points": 16-bit numbers in base64, "cameras": [[x, y, z], ...]}, y up.
const zh = window.atlasLang === "zh";
const viewer = element.querySelector(".pc-viewer");
const canvas = viewer.querySelector("canvas");
const context = canvas.getContext("2d");
const STEP = 0.12; // radians of an arrow key
const STILL = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
let points = new Float32Array();
let cameras = [];
let turn = 0.5;
let tilt = 0.25;
let drag = null;
let touched = STILL;
let inSight = false;

function read() {
  let value = {};
  try { value = JSON.parse(props.value || "{}"); } catch { /* nothing there yet */ }
  const bytes = Uint8Array.from(atob(value.points || ""), (letter) => letter.charCodeAt(0));
  points = Float32Array.from(new Int16Array(bytes.buffer), (number) => number / 32000);
  cameras = value.cameras || [];
  viewer.hidden = !points.length;
  viewer.setAttribute("aria-label", zh
    ? `点云，${points.length / 3} 个点，${cameras.length} 个相机；方向键转动`
    : `Point cloud of ${points.length / 3} points and ${cameras.length} cameras; arrow keys turn it`);
  viewer.querySelector("p").textContent = zh
    ? "近处的点亮，远处的点暗。方块是各视角的相机。拖动或用方向键转动。"
    : "Near points are bright, far ones dark. Squares are the cameras of the views. Drag, or use the arrow keys.";
  draw();
}

// [x, y, z] turned about the vertical axis, then tilted; z towards the viewer.
function placed(x, y, z) {
  const across = x * Math.cos(turn) + z * Math.sin(turn);
  const depth = z * Math.cos(turn) - x * Math.sin(turn);
  return [across, y * Math.cos(tilt) - depth * Math.sin(tilt), depth * Math.cos(tilt) + y * Math.sin(tilt)];
}

function draw() {
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  const size = 0.26 * height;
  const seen = [];
  for (let i = 0; i < points.length; i += 3) seen.push(placed(points[i], points[i + 1], points[i + 2]));
  seen.sort((a, b) => a[2] - b[2]);
  for (const [x, y, z] of seen) {
    const near = (z + 1) / 2;
    const scale = size * 4 / (4 - z);
    context.fillStyle = `hsl(${235 - 185 * near} 85% ${28 + 32 * near}%)`;
    context.fillRect(width / 2 + x * scale, height / 2 - y * scale, 2.6, 2.6);
  }
  context.font = "13px sans-serif";
  cameras.forEach((camera, i) => {
    const [x, y, z] = placed(...camera);
    const scale = size * 4 / (4 - z);
    const [left, top] = [width / 2 + x * scale, height / 2 - y * scale];
    context.strokeStyle = context.fillStyle = z > 0 ? "#d55e00" : "#b0a090";
    context.strokeRect(left - 5, top - 5, 10, 10);
    context.fillText(String(i + 1), left + 8, top + 5);
    context.globalAlpha = 0.25;
    context.beginPath();
    context.moveTo(left, top);
    context.lineTo(width / 2, height / 2);
    context.stroke();
    context.globalAlpha = 1;
  });
  viewer.dataset.turn = turn.toFixed(3);
  viewer.dataset.tilt = tilt.toFixed(3);
}

function move(across, up) {
  touched = true;
  turn += across;
  tilt = Math.min(1.5, Math.max(-1.5, tilt + up));
  draw();
}

canvas.addEventListener("pointerdown", (event) => {
  drag = [event.clientX, event.clientY];
  touched = true;
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  if (!drag) return;
  move((event.clientX - drag[0]) / 120, (event.clientY - drag[1]) / 120);
  drag = [event.clientX, event.clientY];
});
["pointerup", "pointercancel"].forEach((name) => canvas.addEventListener(name, () => { drag = null; }));
viewer.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
  if (!steps) return;
  event.preventDefault();
  move(...steps);
});

function spin() {
  if (!element.isConnected) return;
  if (!touched && points.length && inSight) {
    turn += 0.01;
    draw();
  }
  requestAnimationFrame(spin);
}

read();
watch("value", read);
new IntersectionObserver((seen) => { inSight = seen.at(-1).isIntersecting; }).observe(viewer);
requestAnimationFrame(spin);
