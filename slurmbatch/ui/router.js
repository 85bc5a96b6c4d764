// Where one is stands in the fragment of the address, so that every view has a link of its own.
import { useEffect, useState } from "./preact-hooks.js";

function read() {
  const [place, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = place.split("/").filter(Boolean).map((each) => {
    try {
      return decodeURIComponent(each);
    } catch {
      return each;
    }
  });
  return { parts, query: Object.fromEntries(new URLSearchParams(query)) };
}

export function link(parts, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value);
  const asked = given.length ? `?${new URLSearchParams(given)}` : "";
  return `#/${parts.map(encodeURIComponent).join("/")}${asked}`;
}

export function go(parts, query) {
  location.hash = link(parts, query);
}

// The same view with other settings; no step back in the history for each letter of a search.
export function adjust(changes) {
  const { parts, query } = read();
  history.replaceState(null, "", link(parts, { ...query, ...changes }));
  dispatchEvent(new HashChangeEvent("hashchange"));
}

export function useRoute() {
  const [route, setRoute] = useState(read);
  useEffect(() => {
    const changed = () => setRoute(read());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}
