// Shows one paper of the report card or all; the address keeps the choice.
const show = (paper) => {
  const cards = [...element.querySelectorAll(".atlas-paper-card")];
  const known = cards.some((card) => card.dataset.paper === paper);
  cards.forEach((card) => { card.hidden = known && card.dataset.paper !== paper; });
  element.querySelectorAll("[data-only]").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.only === (known ? paper : "")));
  });
};
show(new URLSearchParams(location.search).get("paper"));
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-only]");
  if (!button) return;
  show(button.dataset.only);
  const url = new URL(location.href);
  if (button.dataset.only) url.searchParams.set("paper", button.dataset.only);
  else url.searchParams.delete("paper");
  history.replaceState(history.state, "", url);
});
