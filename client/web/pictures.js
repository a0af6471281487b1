// Picture files in the browser: encoding for requests, shrinking what is too large, and the pictures of this session,
// which need no server to be shown; others come from the originals that a collection keeps, or from the server's
// picture folder, if any.

const shown = new Map();  // id -> object URL

export function rememberPicture(id, file) {
  if (!shown.has(id)) shown.set(id, URL.createObjectURL(file));
}

// Where the picture of a stored image may be found, best first; none when only its metadata can be shown.
export function pictureUrls(collection, id) {
  const urls = [];
  if (shown.has(id)) urls.push(shown.get(id));
  if (keeping.has(collection)) urls.push(`${storedPath(collection, id)}/thumbnail?size=384`);
  if (serverShowsPictures) urls.push(`/picture?${new URLSearchParams({collection, id})}`);
  return urls;
}

// The upload itself, for a collection that keeps originals; else null.
export function originalUrl(collection, id) {
  return keeping.has(collection) ? `${storedPath(collection, id)}/original` : null;
}

const storedPath = (collection, id) =>
  `/v1/collections/${encodeURIComponent(collection)}/images/${encodeURIComponent(id)}`;

let keeping = new Set();  // names of collections with originals
let serverShowsPictures = false;

export function noteCollections(collections) {
  keeping = new Set(collections.filter((one) => one.keepOriginals || Number(one.originalBytes) > 0).map((one) => one.name));
}

export async function askForPictures() {
  try {
    serverShowsPictures = (await (await fetch("/web/settings.json")).json()).pictures;
  } catch {
    serverShowsPictures = false;
  }
}

// Without the "data:...;base64," in front.
export function toBase64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error("This file can't be read."));
    reader.readAsDataURL(file);
  });
}

// `file` itself when it has at most maxBytes, else a JPEG of it with sides up to maxSide. A file that the browser
// can't decode stays as it is: the server says what is wrong with it.
export async function fitted(file, maxBytes, maxSide = 2048) {
  if (file.size <= maxBytes) return file;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {imageOrientation: "from-image"});
  } catch {
    return file;
  }
  const scale = Math.min(1, maxSide / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  return blob ? new File([blob], file.name, {type: "image/jpeg"}) : file;
}

// The picture files of a drop or paste.
export function pictureFiles(transfer) {
  return [...(transfer?.files || [])].filter((file) => file.type.startsWith("image/") || file.type === "");
}
