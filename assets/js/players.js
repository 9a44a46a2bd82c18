// A frame below a clip, or a place on its curve, plays the clip from there; the frame that is shown is marked while it plays.
const cardOf = (node) => node.closest("[data-clip]");
const mark = (card, seconds) => {
  const frames = [...card.querySelectorAll("[data-at]")];
  const shown = frames.filter((frame) => Number(frame.dataset.at) <= seconds + 0.02).pop();
  frames.forEach((frame) => frame.classList.toggle("playing", frame === shown));
};
element.addEventListener("click", (event) => {
  const frame = event.target.closest("[data-at]");
  if (!frame) return;
  const card = cardOf(frame);
  const video = card.querySelector("video, audio");
  const seconds = Number(frame.dataset.at);
  mark(card, seconds);
  if (!video) return;
  video.currentTime = seconds;
  video.play().catch(() => {});
});
element.addEventListener("timeupdate", (event) => {
  const card = cardOf(event.target);
  if (card) mark(card, event.target.currentTime);
}, true);
