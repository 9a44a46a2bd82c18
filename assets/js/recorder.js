// What the camera or the microphone records becomes a file of the page. Runs inside Gradio's HTML component, which gives
// `element`, `props`, `trigger` and `upload`; its value is the JSON text of the uploaded file.
const zh = window.atlasLang === "zh";
const button = element.querySelector("button");
const said = element.querySelector("[role=status]");
const view = element.querySelector("video");
const pause = (milliseconds) => new Promise((done) => { setTimeout(done, milliseconds); });
const DEVICES = {
  camera: {
    asked: { video: { width: { ideal: 640 } }, audio: false },
    kinds: ["video/webm;codecs=vp8", "video/webm", "video/mp4"],
    seconds: 4,
    none: zh
      ? "无法使用摄像头：没有摄像头、没有得到允许，或者本页不是通过 HTTPS 或本机地址打开的。"
      : "The camera cannot be used: there is none, it is not allowed, or this page was opened neither by HTTPS nor on this computer.",
  },
  microphone: {
    asked: { audio: true, video: false },
    kinds: ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg"],
    seconds: 30,
    none: zh
      ? "无法使用麦克风：没有麦克风、没有得到允许，或者本页不是通过 HTTPS 或本机地址打开的。"
      : "The microphone cannot be used: there is none, it is not allowed, or this page was opened neither by HTTPS nor on this computer.",
  },
};
const name = button.dataset.record;
const device = DEVICES[name];
let stop = null; // ends the recording that goes on

async function recorded() {
  const stream = await navigator.mediaDevices.getUserMedia(device.asked);
  try {
    if (view) {
      view.srcObject = stream;
      view.hidden = false;
      await view.play();
    }
    const kind = device.kinds.find((one) => MediaRecorder.isTypeSupported(one));
    const recorder = new MediaRecorder(stream, kind ? { mimeType: kind } : {});
    const parts = [];
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    const ended = new Promise((done) => { recorder.addEventListener("stop", done); });
    let isOver = false;
    const over = new Promise((done) => { stop = () => { isOver = true; done(); }; });
    recorder.start();
    for (let left = device.seconds; left > 0 && !isOver; left -= 1) {
      said.textContent = zh ? `正在录制，还有 ${left} 秒；再按一次即停止` : `Recording, ${left} s left; press again to stop`;
      await Promise.race([pause(1000), over]);
    }
    stop = null;
    recorder.stop();
    await ended;
    const type = recorder.mimeType.split(";")[0];
    const ending = ["mp4", "ogg"].find((one) => type.endsWith(one)) ?? "webm";
    return new File(parts, `${name}.${ending}`, { type });
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    if (view) {
      view.srcObject = null;
      view.hidden = true;
    }
  }
}

let isBusy = false;
button.addEventListener("click", async () => {
  if (isBusy) {
    stop?.();
    return;
  }
  isBusy = true;
  try {
    const file = await recorded();
    said.textContent = zh ? "正在上传……" : "Uploading …";
    const { path, url } = await upload(file);
    props.value = JSON.stringify({ path, url, size: file.size, orig_name: file.name, mime_type: file.type });
    trigger("change");
    said.textContent = "";
  } catch {
    said.textContent = device.none;
  }
  isBusy = false;
});
