// A few seconds from the camera become a file of the page. Runs inside Gradio's HTML component, which gives `element`,
// `props`, `trigger` and `upload`; its value is the JSON text of the uploaded file.
const zh = window.atlasLang === "zh";
const SECONDS = 4;
const KINDS = ["video/webm;codecs=vp8", "video/webm", "video/mp4"];
const button = element.querySelector("button");
const said = element.querySelector("[role=status]");
const view = element.querySelector("video");
const pause = (milliseconds) => new Promise((done) => { setTimeout(done, milliseconds); });

async function recorded() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 } }, audio: false });
  try {
    view.srcObject = stream;
    view.hidden = false;
    await view.play();
    const kind = KINDS.find((one) => MediaRecorder.isTypeSupported(one));
    const recorder = new MediaRecorder(stream, kind ? { mimeType: kind } : {});
    const parts = [];
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    const ended = new Promise((done) => { recorder.addEventListener("stop", done); });
    recorder.start();
    for (let left = SECONDS; left > 0; left -= 1) {
      said.textContent = zh ? `正在录制，还有 ${left} 秒` : `Recording, ${left} s left`;
      await pause(1000);
    }
    recorder.stop();
    await ended;
    const type = recorder.mimeType.split(";")[0];
    return new File(parts, `camera.${type.endsWith("mp4") ? "mp4" : "webm"}`, { type });
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    view.srcObject = null;
    view.hidden = true;
  }
}

button.addEventListener("click", async () => {
  button.disabled = true;
  try {
    const file = await recorded();
    said.textContent = zh ? "正在上传……" : "Uploading …";
    const { path, url } = await upload(file);
    props.value = JSON.stringify({ path, url, size: file.size, orig_name: file.name, mime_type: file.type });
    trigger("change");
    said.textContent = "";
  } catch {
    said.textContent = zh
      ? "无法使用摄像头：没有摄像头、没有得到允许，或者本页不是通过 HTTPS 或本机地址打开的。"
      : "The camera cannot be used: there is none, it is not allowed, or this page was opened neither by HTTPS nor on this computer.";
  }
  button.disabled = false;
});
