// The frame around every view: the key, the navigation, and which view it is.
import { forget, get, keep, key, signedOut } from "./api.js";
import { BatchList } from "./list.js";
import { BatchView } from "./batch.js";
import { JobView } from "./job.js";
import { NewBatch } from "./submit.js";
import { Service } from "./service.js";
import { html } from "./html.js";
import { render } from "./preact.js";
import { useEffect, useRef, useState } from "./preact-hooks.js";
import { useRoute } from "./router.js";

const PLACES = [["Batches", "#/", ""], ["New batch", "#/new", "new"], ["Service", "#/service", "service"]];

function view({ parts, query }) {
  const [first, batchId, jobs, jobId] = parts;
  if (first === undefined) return html`<${BatchList} query=${query} />`;
  if (first === "new") return html`<${NewBatch} query=${query} />`;
  if (first === "service") return html`<${Service} />`;
  if (first === "batches" && jobs === "jobs" && jobId !== undefined)
    return html`<${JobView} key=${jobId} batchId=${batchId} jobId=${jobId} query=${query} />`;
  if (first === "batches" && batchId !== undefined)
    return html`<${BatchView} key=${batchId} batchId=${batchId} query=${query} />`;
  return html`<h1>There is no such page</h1><p><a href="#/">To the batches</a></p>`;
}

function Frame() {
  const route = useRoute();
  const [out, setOut] = useState({ is: key() === null, why: "" });
  const main = useRef();
  const place = route.parts.join("/");
  const before = useRef(place);
  useEffect(() => {
    const left = (event) => setOut({ is: true, why: event.detail });
    signedOut.addEventListener("out", left);
    return () => signedOut.removeEventListener("out", left);
  }, []);
  useEffect(() => {
    if (before.current !== place) {
      before.current = place;
      scrollTo(0, 0);
      main.current.focus();
    }
  }, [place]);
  const here = route.parts[0] === "batches" ? "" : route.parts[0] ?? "";
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>
      To the content</a>
    <header>
      <a class="brand" href="#/"><img src="icon.svg" alt="" width="24" height="24" /> slurmbatch</a>
      ${!out.is && html`<nav aria-label="Main">
        ${PLACES.map(([name, href, is]) => html`
          <a href=${href} aria-current=${is === here ? "page" : undefined}>${name}</a>`)}
      </nav>
      <button class="plain" onClick=${() => forget()}>Sign out</button>`}
    </header>
    <main id="main" tabindex="-1" ref=${main}>
      ${out.is
        ? html`<${KeyEntry} why=${out.why} onDone=${() => setOut({ is: false, why: "" })} />`
        : view(route)}
    </main>`;
}

function KeyEntry({ why, onDone }) {
  const [trouble, setTrouble] = useState(why);
  const [busy, setBusy] = useState(false);
  const input = useRef();
  useEffect(() => setTrouble(why), [why]);
  useEffect(() => input.current.focus(), []);
  useEffect(() => { document.title = "Sign in – slurmbatch"; }, []);
  const enter = async (event) => {
    event.preventDefault();
    const text = input.current.value.trim();
    if (!/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(text)) {
      setTrouble("Enter your API key: letters, digits and signs of ASCII only.");
      return;
    }
    setBusy(true);
    keep(text);
    try {
      await get("batches?limit=1");
      onDone();
    } catch (error) {
      if (error.status !== 401) forget();
      setTrouble(error.status === 401 ? "The service does not take this key." : error.message);
    } finally {
      setBusy(false);
    }
  };
  return html`<form class="card narrow" onSubmit=${enter}>
    <h1>Sign in</h1>
    <p>Your API key, or a token. It is kept in this tab only, and gone when you close it.</p>
    <label for="key">API key</label>
    <input id="key" type="password" autocomplete="off" spellcheck=${false} ref=${input}
      aria-invalid=${trouble ? "true" : undefined} aria-describedby="key-trouble" />
    <p id="key-trouble" class="trouble" role="alert">${trouble}</p>
    <button class="main" disabled=${busy}>Sign in</button>
  </form>`;
}

render(html`<${Frame} />`, document.getElementById("app"));
