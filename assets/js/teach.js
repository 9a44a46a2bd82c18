// Starts a class from the Teach room: asks for one, makes sure that all requests reach one process, and goes to the lectern.
const SERVERS_ASKED = 8;
const lang = window.atlasLang || "en";
const root = element.querySelector(".teach");
const message = element.querySelector("#teach-message");
const told = (name) => root.dataset[name + lang[0].toUpperCase() + lang.slice(1)];
const complain = (sentence) => { message.textContent = sentence; message.hidden = false; message.scrollIntoView({ block: "center" }); };
const post = (path, body) => fetch(`class/${path}?lang=${lang}`, {
  method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
});

async function start(plan) {
  const answer = await post("start", { plan, base: new URL(".", location.href).href });
  const room = await answer.json();
  if (!answer.ok) return complain(room.error || told("failed"));
  const marks = await Promise.all(Array.from({ length: SERVERS_ASKED }, async (_, i) =>
    (await (await fetch(`class/server?${i}`, { cache: "no-store" })).json()).mark));
  if (marks.some((mark) => mark !== room.mark)) {
    await post("lead", { code: room.code, key: room.key, do: "end" });
    return complain(told("replicas"));
  }
  location.href = `lectern#${encodeURIComponent(JSON.stringify(room))}`;
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-start]");
  if (!button) return;
  button.disabled = true;
  start(button.dataset.start).catch(() => complain(told("failed"))).finally(() => { button.disabled = false; });
});
