// A click on an example passes its id to Python; the moment makes a second click on the same one a change again.
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-example]");
  if (!button) return;
  props.value = button.dataset.example + " " + Date.now();
  trigger("change");
});
