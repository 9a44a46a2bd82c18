// On every page: large and bare for a projector (`?projector=1`), with keys for the next step; and the way back to a class.
(() => {
  "use strict";
  const root = document.documentElement;
  const query = new URLSearchParams(location.search);
  const lang = window.atlasLang;
  const pick = (english, chinese) => (lang === "zh" ? chinese : english);
  const whenThere = (work) => {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", work);
    else work();
  };
  const slug = location.pathname.replace(/\/+$/, "").split("/").pop();

  // A pupil who has left the teacher's step to try something comes back by this.
  let me = null;
  try { me = JSON.parse(window.sessionStorage.getItem("atlas_class")); } catch { /* storage is forbidden */ }
  if (me && me.code && slug !== "class") {
    whenThere(() => {
      const back = document.createElement("a");
      back.id = "atlas-back";
      back.href = `class?code=${encodeURIComponent(me.code)}`;
      back.textContent = pick("← Back to the class", "← 回到课堂");
      document.body.append(back);
    });
  }

  if (query.get("projector") !== "1") return;
  root.dataset.projector = "1";
  const [plan, number] = (query.get("plan") || "").split(":");
  const at = Number(number) || 0;
  const steps = plan
    ? fetch(`class/plan?plan=${encodeURIComponent(plan)}`).then((answer) => (answer.ok ? answer.json() : []), () => [])
    : Promise.resolve([]);

  async function go(by) {
    const list = await steps;
    if (!list.length) {
      const next = document.querySelector("#walk-next button, button#walk-next");
      if (by > 0 && next && !next.disabled) next.click();
      return;
    }
    const step = list[at + by];
    if (!step) { if (by > 0) location.href = "teach"; return; }
    const url = new URL(step.address[lang], location.href);
    url.searchParams.set("projector", "1");
    url.searchParams.set("plan", `${plan}:${at + by}`);
    location.href = url.href;
  }

  function leave() {
    const url = new URL(location.href);
    ["projector", "plan"].forEach((name) => url.searchParams.delete(name));
    location.replace(url);
  }

  const ACTIONS = {
    n: () => go(1), pagedown: () => go(1), p: () => go(-1), pageup: () => go(-1), escape: leave,
    l: () => document.querySelector(`[data-set-lang=${lang === "zh" ? "en" : "zh"}]`)?.click(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest && event.target.closest("input:not([type=radio], [type=checkbox]), textarea, select")) return;
    const action = ACTIONS[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });

  whenThere(async () => {
    const list = await steps;
    const line = document.createElement("p");
    line.id = "atlas-projector";
    const place = list.length ? `${at + 1} / ${list.length} · ` : "";
    line.textContent = place + pick("N next · P previous · L language · Esc leave", "N 下一步 · P 上一步 · L 语言 · Esc 退出");
    document.body.append(line);
  });
})();
