// Wires the page together: reads the query from the controls, asks the server, shows the answer.
import {ApiError, call} from "./api.js";
import {showDetails} from "./details.js";
import {byId, element, showText} from "./dom.js";
import {FieldKnowledge, FilterBox} from "./filter.js";
import {askForPictures, fitted, noteCollections, pictureFiles, pictureUrls} from "./pictures.js";
import {Results, titleOf} from "./results.js";
import {Terms} from "./terms.js";
import {setUpUpload} from "./upload.js";

const text = byId("text");
const filter = byId("filter");
const QUERY_PICTURE_BYTES = 4 * 1024 * 1024;  // larger ones are shrunk before they are sent
const LESS_WEIGHT = -0.5;
const VARIED = 0.4;  // diversity

let maxMessageBytes = 8 * 1024 * 1024;
let running = null;  // AbortController of the search under way
let shownHits = 0;

const knowledge = new FieldKnowledge();
const filterBox = new FilterBox(filter, byId("filter-options"), knowledge);
const collection = () => byId("collection").value;

const terms = new Terms(byId("terms"), () => search());
const more = (hit) => terms.addStored(hit.id, titleOf(hit), pictureUrls(collection(), hit.id)[0], 1);
const less = (hit) => terms.addStored(hit.id, titleOf(hit), pictureUrls(collection(), hit.id)[0], LESS_WEIGHT);
const results = new Results(byId("results"), {
  more,
  less,
  copies: readCopies,
  collection,
  open: (hit) => showDetails(byId("details"), collection(), hit, {more, less, filter: addFilter}),
});

function addFilter(condition) {
  filter.value = filter.value.trim() === "" ? condition : `(${filter.value.trim()}) AND ${condition}`;
  search();
}

// "query.terms[1]: ..." and "query.terms[1].image: ..." with the term's name in front instead.
function readable(message) {
  return message.replace(/^query\.terms\[(\d+)\][\w.]*:/, (path, number) => {
    const i = Number(number) - (text.value.trim() === "" ? 0 : 1);
    return `${i < 0 ? "The text" : terms.labelOf(i) || path}:`;
  });
}

function showError(error) {
  const isFilter = error.reason === "BAD_FILTER";
  showText(byId(isFilter ? "filter-error" : "error"), readable(error.message));
  filter.setAttribute("aria-invalid", String(isFilter));
  if (isFilter) filterBox.showMistake(error.message);
}

function clearErrors() {
  showText(byId("error"), "");
  showText(byId("filter-error"), "");
  filter.removeAttribute("aria-invalid");
}

async function queryTerms() {
  const all = await terms.toRequest();
  const typed = text.value.trim();
  return typed === "" ? all : [{text: typed, weight: 1}, ...all];
}

// Asks for the next `limit` hits after the `offset` first ones.
async function search(offset = 0) {
  running?.abort();
  const control = new AbortController();
  running = control;
  clearErrors();
  let query;
  try {
    query = await queryTerms();
  } catch (error) {
    showError(error);  // a file that can't be read (any more)
    return;
  }
  if (running !== control) return;
  if (query.length === 0) {
    clearResults();
    return;
  }
  remember();
  const limit = Number(byId("limit").value);
  const request = {
    collection: collection(), query: {terms: query}, filter: filter.value.trim(), limit, offset, withMetadata: true,
    withRelevance: true,
    collapseDuplicates: byId("fold").value,
  };
  const group = byId("group").value.trim();
  if (group !== "") request.groupBy = {field: group};
  if (byId("varied").checked) request.diversity = VARIED;
  document.body.classList.add("busy");
  const started = performance.now();
  try {
    const reply = await call("search", request, control.signal);
    if (running !== control) return;
    show(reply, offset, limit, performance.now() - started);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof ApiError)) throw error;
    if (offset === 0) clearResults(/*help=*/false);
    showError(error);
  } finally {
    if (running === control) document.body.classList.remove("busy");
  }
}

function clearResults(help = true) {
  results.clear();
  shownHits = 0;
  byId("status").textContent = "";
  byId("more").hidden = true;
  byId("empty").hidden = !help;
}

function show(reply, offset, limit, milliseconds) {
  if (offset === 0) results.clear();
  results.add(reply.hits);
  shownHits = offset + reply.hits.length;
  byId("empty").hidden = true;
  byId("more").hidden = reply.hits.length < limit;
  const count = shownHits === 1 ? "1 picture" : `${shownHits} pictures`;
  byId("status").textContent = (shownHits === 0 ? "No picture matches" : count) +
    ` in ${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms` +
    (reply.truncatedText ? ". The text was longer than the model reads; its end was ignored." : "");
  for (const hit of reply.hits) knowledge.learn(hit.metadata);
}

// The hits folded under `hit`, with their own scores; those that were deleted meanwhile are left out.
async function readCopies(hit) {
  const scores = new Map(hit.duplicates.map((one) => [one.id, one.score]));
  try {
    const reply = await call("get", {collection: collection(), ids: [...scores.keys()], withoutVector: true});
    return reply.images.map((image) => ({id: image.id, metadata: image.metadata, score: scores.get(image.id)}));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    showError(error);
    return [];
  }
}

async function addPicture(file) {
  terms.addPicture(await fitted(file, QUERY_PICTURE_BYTES), file.name);
}

// The text and the filter live in the address, so that a search can be bookmarked and survives a reload.
function remember() {
  const state = new URLSearchParams();
  if (text.value.trim()) state.set("q", text.value.trim());
  if (filter.value.trim()) state.set("filter", filter.value.trim());
  if (collection() !== "default") state.set("collection", collection());
  history.replaceState(null, "", `#${state}`);
}

function setUpControls() {
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  const keepText = () => {
    const typed = text.value.trim();
    if (typed === "") return;
    text.value = "";
    terms.addText(typed);
    text.focus();
  };
  byId("add-term").addEventListener("click", keepText);
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      keepText();
    }
  });
  byId("query-file").addEventListener("change", (event) => {
    for (const file of event.target.files) addPicture(file);
    event.target.value = "";
  });
  byId("more").addEventListener("click", () => search(shownHits));
  for (const id of ["limit", "fold", "group", "varied"]) byId(id).addEventListener("change", () => search());
  byId("collection").addEventListener("change", () => {
    terms.clear();
    search();
    learnFields();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      text.focus();
    }
  });
}

function setUpDropAndPaste() {
  const veil = byId("drop-veil");
  const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    veil.hidden = byId("upload").open;
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) veil.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    veil.hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    const files = pictureFiles(event.dataTransfer);
    if (files.length === 0) showText(byId("error"), "Only pictures can be dropped here.");
    for (const file of files) addPicture(file);
  });
  document.addEventListener("paste", (event) => {
    const files = pictureFiles(event.clipboardData);
    if (files.length === 0 || byId("upload").open) return;
    event.preventDefault();
    for (const file of files) addPicture(file);
  });
}

// Fields for the completion, from some stored pictures.
async function learnFields() {
  try {
    const reply = await call("list", {collection: collection(), pageSize: 100, withoutVector: true});
    for (const image of reply.images) knowledge.learn(image.metadata);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;  // then there is no completion
  }
}

async function refreshCollections(chosen) {
  const {collections} = await call("list-collections", {});
  noteCollections(collections);
  const select = byId("collection");
  select.replaceChildren(...collections.map((one) => element("option", {value: one.name},
    `${one.name} (${Number(one.imageCount).toLocaleString()})`)));
  if (collections.some((one) => one.name === chosen)) select.value = chosen;
}

async function showServer() {
  const info = await call("get-server-info", {});
  maxMessageBytes = Number(info.limits?.maxMessageBytes) || maxMessageBytes;
  byId("server").textContent = `imagesearchd ${info.serverVersion} · model ${info.model?.id} · ` +
    `${info.model?.dimension} dimensions, ${info.model?.precision} · ${info.simdLevel}`;
}

async function begin() {
  setUpControls();
  setUpDropAndPaste();
  setUpUpload(() => ({collection: collection(), maxBytes: maxMessageBytes}), async () => {
    await refreshCollections(collection());
    learnFields();
    search();
  });
  const state = new URLSearchParams(location.hash.slice(1));
  text.value = state.get("q") || "";
  filter.value = state.get("filter") || "";
  try {
    await Promise.all([refreshCollections(state.get("collection") || "default"), showServer(), askForPictures()]);
    learnFields();
    if (text.value) search();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    showError(error);
  }
  text.focus();
}

begin();
