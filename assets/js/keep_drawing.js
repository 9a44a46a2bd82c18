(image, value) => {
  let old = {};
  try { old = JSON.parse(value || "{}"); } catch { /* nothing there yet */ }
  const src = image ? image.url : "";
  return JSON.stringify(old.for && src.includes(old.for) ? { ...old, src } : { src });
}
