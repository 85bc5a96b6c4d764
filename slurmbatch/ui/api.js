// The HTTP API. The key is kept for this tab alone, and sent as a header: no cookies, so no other
// site can make a request in the user's name.
const KEY = "slurmbatch.key";
const BASE = new URL("../", document.baseURI);
const OBJECT = "application/vnd.slurmbatch.object+json, application/json;q=0.9, */*;q=0.1";

export const signedOut = new EventTarget();

export const key = () => sessionStorage.getItem(KEY);
export const keep = (text) => sessionStorage.setItem(KEY, text);
export function forget(why = "") {
  sessionStorage.removeItem(KEY);
  signedOut.dispatchEvent(new CustomEvent("out", { detail: why }));
}

// What the service has answered with an error, or that it has not answered.
export class Problem extends Error {
  constructor(status, { detail = "", title = "", errors = [], request_id = "" }, retryAfter = 0) {
    super(detail || title || `The service has answered with ${status}.`);
    Object.assign(this, { status, errors, requestId: request_id, retryAfter });
  }
}

export const path = (...parts) => parts.map(encodeURIComponent).join("/");

function credentials() {
  const text = key() ?? "";
  return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(text) ? `Bearer ${text}` : text;  // a token (JWT)
}

// The answer as it is. `known`: the ETag of what is known already.
export async function fetched(method, where, { body, headers = {}, known, signal } = {}) {
  const asked = { Authorization: credentials(), Accept: OBJECT, ...headers };
  if (known) asked["If-None-Match"] = known;
  if (body !== undefined) asked["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(new URL(where, BASE), {
      method, headers: asked, signal, cache: "no-store", credentials: "omit",
      referrerPolicy: "no-referrer", body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The service can't be reached." });
  }
  if (answer.ok || answer.status === 304) return answer;
  const problem = new Problem(
    answer.status, await answer.json().catch(() => ({})), Number(answer.headers.get("Retry-After")),
  );
  if (answer.status === 401) forget("The service does not take this key.");
  throw problem;
}

export async function ask(method, where, options) {
  const answer = await fetched(method, where, options);
  const etag = answer.headers.get("ETag");
  const text = answer.status === 304 ? "" : await answer.text();
  const more = /rel="?next/.test(answer.headers.get("Link") ?? "");
  return { status: answer.status, etag, more, value: text ? JSON.parse(text) : undefined };
}

export const get = (where, options) => ask("GET", where, options);
