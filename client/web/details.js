// The panel with everything known of one picture.
import {ApiError, call} from "./api.js";
import {element} from "./dom.js";
import {fieldName, literal} from "./filter.js";
import {originalUrl} from "./pictures.js";
import {preview, titleOf} from "./results.js";

// Rows of a metadata struct: [path, text, filter or null].
function rows(metadata, prefix = "") {
  return Object.entries(metadata || {}).flatMap(([key, value]) => {
    const path = prefix + fieldName(key);
    if (Array.isArray(value)) {
      return value.map((item) => [path, JSON.stringify(item), literal(item) && `${path}:${literal(item)}`]);
    }
    if (value !== null && typeof value === "object") return rows(value, `${path}.`);
    return [[path, typeof value === "string" ? value : JSON.stringify(value), `${path} = ${literal(value)}`]];
  });
}

// actions: {more(hit), less(hit), filter(text)}; each closes the panel.
export async function showDetails(dialog, collection, hit, actions) {
  const closing = (action) => () => {
    dialog.close();
    action();
  };
  const table = element("table", {}, element("caption", {class: "unseen"}, "Metadata"));
  const addRow = (name, text, filter) => table.append(element("tr", {},
    element("th", {scope: "row"}, name), element("td", {}, text),
    element("td", {}, filter && element("button", {
      type: "button", class: "quiet", "aria-label": `Only pictures with ${filter}`,
      onclick: closing(() => actions.filter(filter)),
    }, "Filter"))));
  addRow("id", hit.id, null);
  addRow("score", hit.score.toFixed(6), null);
  if (typeof hit.relevance === "number") addRow("relevance", hit.relevance.toFixed(3), null);
  for (const [name, text, filter] of rows(hit.metadata)) addRow(name, text, filter);

  dialog.replaceChildren(
    element("h2", {id: "details-title"}, titleOf(hit)),
    element("div", {class: "preview"}, preview(hit, collection)),
    table,
    element("div", {class: "actions"},
      element("button", {type: "button", onclick: closing(() => actions.more(hit))}, "More like this"),
      element("button", {type: "button", class: "quiet", onclick: closing(() => actions.less(hit))}, "Less like this"),
      element("button", {type: "button", class: "quiet", onclick: () => dialog.close()}, "Close")));
  dialog.showModal();

  try {
    const {images} = await call("get", {collection, ids: [hit.id], withoutVector: true});
    const stored = images[0];
    if (!stored) return;
    if (stored.contentHash) addRow("SHA-256", stored.contentHash, null);
    if (stored.sourceUri) addRow("source", stored.sourceUri, null);
    const original = stored.contentHash && originalUrl(collection, hit.id);
    if (original) {
      table.append(element("tr", {}, element("th", {scope: "row"}, "original"),
        element("td", {}, element("a", {href: original, target: "_blank", rel: "noopener"}, "Open the uploaded file")),
        element("td", {})));
    }
    if (stored.expireTime) addRow("expires", stored.expireTime, null);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    addRow("error", error.message, null);
  }
}
