// Labels as chips: Enter or a comma adds what was typed, the cross or Backspace in the empty box removes one. Runs inside
// Gradio's HTML component, which gives `element`, `props`, `trigger` and `watch`; its value is one text with commas.
const zh = window.atlasLang === "zh";
const list = element.querySelector("ul");
const box = element.querySelector("input");
const SEPARATORS = /[,，、;；\r\n]/; // as core.inputs.labels cuts
let labels = [];

const cut = (text) => [...new Set((text || "").split(SEPARATORS).map((piece) => piece.trim()).filter(Boolean))];

function draw() {
  list.replaceChildren(...labels.map((label, i) => {
    const chip = document.createElement("li");
    const cross = document.createElement("button");
    cross.type = "button";
    cross.textContent = "×";
    cross.dataset.index = i;
    cross.setAttribute("aria-label", zh ? `去掉“${label}”` : `Remove “${label}”`);
    chip.append(label, cross);
    return chip;
  }));
}

function change(next) {
  labels = next;
  draw();
  props.value = labels.join(zh ? "，" : ", ");
  trigger("input");
}

function add() {
  const fresh = cut(box.value).filter((label) => !labels.includes(label));
  box.value = "";
  if (fresh.length) change([...labels, ...fresh]);
}

function remove(index) {
  change(labels.filter((_, i) => i !== index));
  (list.querySelectorAll("button")[Math.min(index, labels.length - 1)] || box).focus();
}

box.addEventListener("keydown", (event) => {
  if (event.isComposing) return; // Enter that ends a word of an input method is no Enter of ours
  if (event.key === "Enter") {
    add();
    event.preventDefault();
  } else if (event.key === "Backspace" && !box.value && labels.length) {
    change(labels.slice(0, -1));
  }
});
box.addEventListener("input", (event) => {
  event.stopPropagation();
  if (!event.isComposing && SEPARATORS.test(box.value)) add();
});
box.addEventListener("change", (event) => {
  event.stopPropagation();
  add();
});
box.addEventListener("paste", (event) => {
  const text = event.clipboardData.getData("text");
  if (!/[\r\n]/.test(text)) return; // a box of one line would join the lines
  event.preventDefault();
  box.value = `${box.value}${text}`.replace(/[\r\n]+/g, ",");
  add();
});
list.addEventListener("click", (event) => {
  const cross = event.target.closest("button");
  if (cross) remove(Number(cross.dataset.index));
});

function read() {
  labels = cut(props.value);
  draw();
}
watch("value", () => { if (cut(props.value).join() !== labels.join()) read(); });
read();
