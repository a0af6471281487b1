// Calls of the server's HTTP interface (/openapi.json describes it).
import {askForKey, authorization} from "./key.js";

export class ApiError extends Error {
  // `body`: {code, message, details} as the server sends it, or null when it sent none.
  constructor(status, body) {
    super(body?.message || (status ? `The server answered with status ${status}.`
                                   : "The server can't be reached."));
    this.status = status;
    const info = body?.details?.find((detail) => (detail["@type"] || "").endsWith("google.rpc.ErrorInfo"));
    this.reason = info?.reason || "";
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

// `method` is "search", "get", "list-collections", ... Throws ApiError, or AbortError when `signal` fires.
export async function call(method, request, signal) {
  let response;
  try {
    response = await fetch(`/v1/${method}`, {
      method: "POST",
      headers: {"Content-Type": "application/json", ...authorization()},
      body: JSON.stringify(request),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, null);
  }
  const body = parse(await response.text());
  if (response.status === 401 && await askForKey(body?.message || "")) return call(method, request, signal);
  if (!response.ok) throw new ApiError(response.status, body);
  return body;
}

// Stores one picture; onProgress(fraction of bytes sent). Resolves with its UpsertResult, rejects with ApiError.
export function upsertFile(collection, file, metadata, onProgress) {
  const form = new FormData();
  form.append("request", JSON.stringify({collection, images: [{metadata}]}));
  form.append("images[0].content", file);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/v1/upsert");
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    };
    request.onerror = () => reject(new ApiError(0, null));
    request.onload = () => {
      const body = parse(request.responseText);
      if (request.status !== 200 || !body) {
        reject(new ApiError(request.status, body));
        return;
      }
      const result = body.results[0];
      if (result.status?.code) {
        const error = new ApiError(200, {message: result.status.message});
        error.reason = result.status.reason;
        reject(error);
      } else {
        resolve(result);
      }
    };
    request.send(form);
  });
}
