// The API key, where the server asks for one: kept for this tab only, and asked for when a call is refused without it.
import {byId, showText} from "./dom.js";

const STORED_AS = "imagesearch-api-key";

export const currentKey = () => sessionStorage.getItem(STORED_AS) || "";

export function authorization() {
  const key = currentKey();
  return key === "" ? {} : {Authorization: `Bearer ${key}`};
}

let asking = null;  // one dialog for all the calls that wait for it

// Resolves with true when a key was given, false when the dialog was left.
export function askForKey(reason) {
  asking ??= new Promise((resolve) => {
    const dialog = byId("key-dialog");
    const field = byId("key");
    showText(byId("key-error"), currentKey() === "" ? "" : reason);
    field.value = "";
    dialog.addEventListener("close", () => {
      const key = field.value.trim();
      field.value = "";
      asking = null;
      if (dialog.returnValue === "use" && key !== "") sessionStorage.setItem(STORED_AS, key);
      resolve(dialog.returnValue === "use" && key !== "");
    }, {once: true});
    dialog.returnValue = "";
    dialog.showModal();
  });
  return asking;
}

// An address that an <img> can show: the server's own pictures need the key, which an <img> can't send.
export async function showable(url) {
  if (currentKey() === "" || !url.startsWith("/picture")) return url;
  const response = await fetch(url, {headers: authorization()});
  if (!response.ok) throw new Error(`status ${response.status}`);
  return URL.createObjectURL(await response.blob());
}
