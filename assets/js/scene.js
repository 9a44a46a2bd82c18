// A click on a view of a scene makes it the big one, and keeps it so while scenes change: the stylesheet does the rest.
element.dataset.shown = "picture";
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-view]");
  if (button) element.dataset.shown = element.dataset.shown === button.dataset.view ? "picture" : button.dataset.view;
});
