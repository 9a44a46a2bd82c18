// A click on a box anywhere in the page that names this component; the moment makes a second click a change again.
document.addEventListener("atlas-pick", (event) => {
  if (event.detail.picks !== props.name) return;
  props.value = event.detail.pick + " " + Date.now();
  trigger("change");
});
