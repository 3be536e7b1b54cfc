// What the button Record of exploring.py does: the microphone, as a 16 kHz wav, into the hidden text beside the button.
(async (button) => {
  if (button.stop) return button.stop();
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true }); // the browser asks for leave
  } catch (error) { // mediaDevices is missing where the page is neither of localhost nor of https
    button.textContent = `No microphone: ${error.message}`;
    return;
  }
  const recorder = new MediaRecorder(stream), parts = [];
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.onstop = async () => {
    clearTimeout(limit);
    button.stop = null;
    stream.getTracks().forEach((track) => track.stop());
    let samples;
    try {
      const coded = await new Blob(parts).arrayBuffer();
      samples = (await new OfflineAudioContext(1, 1, 16000).decodeAudioData(coded)).getChannelData(0);
    } catch { // such as a recording of no length
      button.textContent = "Nothing was recorded. Record again";
      return;
    }
    hand(wav(samples, 16000));
    button.textContent = `Record again (${(samples.length / 16000).toFixed(1)} s)`;
  };
  const limit = setTimeout(() => button.stop(), 30000); // as long as a model hears
  button.stop = () => recorder.stop();
  recorder.start();
  button.textContent = "Stop";

  // 16 bits a sample behind the header of 44 bytes.
  function wav(samples, rate) {
    const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
    const text = (at, word) => [...word].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
    const numbers = [[4, 36 + 2 * samples.length], [16, 16], [24, rate], [28, 2 * rate], [40, 2 * samples.length]];
    text(0, "RIFF"), text(8, "WAVEfmt "), text(36, "data");
    for (const [at, number] of numbers) view.setUint32(at, number, true);
    for (const [at, number] of [[20, 1], [22, 1], [32, 2], [34, 16]]) view.setUint16(at, number, true);
    samples.forEach((one, i) => view.setInt16(44 + 2 * i, 32767 * Math.max(-1, Math.min(1, one)), true));
    return view.buffer;
  }

  // A widget of text sends what its field holds at a change. So it takes the wav to the kernel, in base64.
  function hand(bytes) {
    const field = button.closest(".widget-hbox").querySelector(".bench-recorded textarea");
    field.value = btoa(Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join(""));
    field.dispatchEvent(new Event("change", { bubbles: true }));
  }
})(this);
