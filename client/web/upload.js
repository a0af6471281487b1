// The dialog that stores pictures.
import {upsertFile} from "./api.js";
import {byId, element, formatBytes, showText} from "./dom.js";
import {fitted, pictureFiles, rememberPicture} from "./pictures.js";

const PARALLEL = 3;
// Of a message, for everything beside the picture itself.
const ENVELOPE_BYTES = 65536;

// server(): {collection, maxBytes}; onDone(stored) is called when some pictures were stored.
export function setUpUpload(server, onDone) {
  const dialog = byId("upload");
  const input = byId("upload-files");
  const start = byId("upload-start");
  const status = byId("upload-status");
  const progress = byId("upload-progress");
  let files = [];

  const choose = (chosen) => {
    files = chosen;
    start.disabled = files.length === 0;
    const bytes = files.reduce((sum, file) => sum + file.size, 0);
    status.textContent = files.length
      ? `${files.length} ${files.length === 1 ? "picture" : "pictures"}, ${formatBytes(bytes)}` : "";
    byId("upload-failures").replaceChildren();
    progress.hidden = true;
  };

  byId("open-upload").addEventListener("click", () => {
    choose([]);
    input.value = "";
    showText(byId("upload-error"), "");
    dialog.showModal();
  });
  input.addEventListener("change", () => choose([...input.files]));
  dialog.addEventListener("dragover", (event) => event.preventDefault());
  dialog.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    choose(pictureFiles(event.dataTransfer));
  });

  const readMetadata = () => {
    const text = byId("upload-metadata").value.trim();
    if (text === "") return {};
    const value = JSON.parse(text);
    if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error("it is not an object");
    return value;
  };

  start.addEventListener("click", async () => {
    let metadata;
    try {
      metadata = readMetadata();
    } catch (error) {
      showText(byId("upload-error"), `The metadata can't be used: ${error.message}`);
      byId("upload-metadata").focus();
      return;
    }
    showText(byId("upload-error"), "");
    start.disabled = true;
    progress.hidden = false;
    const {collection, maxBytes} = server();
    const sent = files.map(() => 0);
    let stored = 0;
    let failed = 0;
    const report = () => {
      progress.value = sent.reduce((sum, part) => sum + part, 0) / files.length;
      status.textContent = `${stored} of ${files.length} stored${failed ? `, ${failed} failed` : ""}`;
    };
    const one = async (i) => {
      const file = files[i];
      try {
        const body = await fitted(file, maxBytes - ENVELOPE_BYTES);
        const result = await upsertFile(collection, body, {file: file.name, ...metadata}, (part) => {
          sent[i] = 0.95 * part;  // the rest is the server's work
          report();
        });
        rememberPicture(result.id, file);
        ++stored;
      } catch (error) {
        ++failed;
        byId("upload-failures").append(element("li", {}, element("strong", {}, file.name),
          ` ${error.message.replace(/^images\[0\][\w.]*: /, "")}`));
      }
      sent[i] = 1;
      report();
    };
    report();
    let next = 0;
    const worker = async () => {
      while (next < files.length) await one(next++);
    };
    await Promise.all(Array.from({length: PARALLEL}, worker));
    files = [];
    input.value = "";
    if (stored > 0) onDone(stored);
  });
}
