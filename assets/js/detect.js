// Boxes over an image. Runs inside Gradio's HTML component, whose value is made by demos/draw/boxes.py. Everything with the
// same data-group in a figure is highlighted together; a click on a box sends an "atlas-pick" event to the page.
const figureOf = (node) => node.closest(".atlas-det");

// Everything outside one group fades; null brings it back.
function only(figure, group) {
  figure.querySelectorAll("[data-group]").forEach((node) => {
    const other = group !== null && node.dataset.group !== group;
    node.classList.toggle("faded", other && !node.closest(".atlas-det-legend"));
    node.classList.toggle("lit", group !== null && !other);
  });
}

const pinned = (figure) => {
  const button = figure.querySelector('[data-group][aria-pressed="true"]:not([data-pick])');
  return button ? button.dataset.group : null;
};

["pointerover", "focusin"].forEach((kind) => element.addEventListener(kind, (event) => {
  const node = event.target.closest("[data-group]");
  if (node && figureOf(node)) only(figureOf(node), node.dataset.group);
}));
["pointerout", "focusout"].forEach((kind) => element.addEventListener(kind, (event) => {
  const node = event.target.closest("[data-group]");
  if (node && figureOf(node)) only(figureOf(node), pinned(figureOf(node)));
}));
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-pick], button[data-group]"); // a name on a box is no button, but can be hit
  if (!button || !figureOf(button)) return;
  const figure = figureOf(button);
  if (button.dataset.pick !== undefined) {
    figure.querySelectorAll("button[data-pick]").forEach((other) => {
      other.setAttribute("aria-pressed", String(other.dataset.pick === button.dataset.pick));
    });
    const detail = { picks: figure.dataset.picks, pick: Number(button.dataset.pick) };
    document.dispatchEvent(new CustomEvent("atlas-pick", { detail }));
    return;
  }
  // A finger cannot hover: a tap keeps a group until it is tapped again.
  const on = button.getAttribute("aria-pressed") !== "true";
  figure.querySelectorAll("button[data-group]:not([data-pick])").forEach((other) => other.setAttribute("aria-pressed", "false"));
  button.setAttribute("aria-pressed", String(on));
  only(figure, pinned(figure));
});
