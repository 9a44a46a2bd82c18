// Runs before Gradio: the language of the page is ?lang=, else what was chosen before, else the browser's.
(() => {
  const asked = new URLSearchParams(location.search).get("lang");
  let lang = null;
  try {
    if (asked === "zh" || asked === "en") localStorage.setItem("atlas_lang", asked);
    lang = localStorage.getItem("atlas_lang");
  } catch { /* storage may be blocked inside a frame */ }
  if (asked === "zh" || asked === "en") lang = asked;
  lang = lang || (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
  const locale = lang === "zh" ? "zh-CN" : "en";
  Object.defineProperty(navigator, "language", { get: () => locale });
  Object.defineProperty(navigator, "languages", { get: () => [locale] });
  window.atlasLang = lang;
  document.documentElement.lang = locale;
  document.documentElement.dataset.lang = lang;
  window.atlasSwitch = (to) => {
    try { localStorage.setItem("atlas_lang", to); } catch { /* see above */ }
    const url = new URL(location.href);
    url.searchParams.set("lang", to);
    location.href = url.href;
  };
  // Gradio takes its theme from the address: the choice is put there before Gradio reads it.
  let theme = null;
  try { theme = localStorage.getItem("atlas_theme"); } catch { /* see above */ }
  const here = new URL(location.href);
  if (theme && !here.searchParams.has("__theme")) {
    here.searchParams.set("__theme", theme);
    history.replaceState(null, "", here);
  }
  window.atlasTheme = () => {
    const next = document.body.classList.contains("dark") ? "light" : "dark";
    try { localStorage.setItem("atlas_theme", next); } catch { /* see above */ }
    document.body.classList.toggle("dark", next === "dark");
  };
})();
