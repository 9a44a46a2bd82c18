// Before and after under one slider, and frames that a slider turns over. Runs inside Gradio's HTML component; its markup is
// that of demos/draw/frames.py (pair, flip).
element.addEventListener("input", (event) => {
  const box = event.target.closest(".fr-pair, .fr-flip");
  if (!box || event.target.type !== "range") return;
  const value = Number(event.target.value);
  if (box.matches(".fr-pair")) {
    box.style.setProperty("--cut", `${value}%`);
    return;
  }
  const frames = [...box.querySelectorAll("[data-frame]")];
  frames.forEach((frame, at) => { frame.hidden = at !== value; });
  event.target.setAttribute("aria-valuetext", frames[value].querySelector("figcaption").textContent);
});
