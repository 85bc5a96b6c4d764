// All batches of the caller's, newest first, as bars stacked by status.
import { Bar, Loading, Stale, Swatch, Trouble, When, useNow, useTitle } from "./parts.js";
import { STATUSES, inWords } from "./statuses.js";
import { adjust, link } from "./router.js";
import { count, number } from "./format.js";
import { get } from "./api.js";
import { html } from "./html.js";
import { useEffect, useState } from "./preact-hooks.js";
import { useLive } from "./live.js";

const FIRST = 50;
const MOST = 10000;

export function BatchList({ query }) {
  useTitle("Batches");
  const now = useNow();
  const limit = Math.min(MOST, Math.max(1, Number.parseInt(query.limit, 10) || FIRST));
  const asked = new URLSearchParams({ limit });
  if (query.status) asked.set("status", query.status);
  if (query.tool) asked.set("tool_id", query.tool);
  if (query.user) asked.set("user", query.user);  // for administrators
  const { value, trouble, more, refresh } = useLive(`batches?${asked}`);
  const found = value?.filter((each) => matches(each, query.q ?? ""));
  const filtered = Boolean(query.q || query.status || query.tool);
  return html`
    <div class="top"><h1>Batches${query.user && ` of ${query.user}`}</h1><a class="button main" href="#/new">New batch</a></div>
    <${Filters} query=${query} />
    <${Legend} />
    <${Trouble} problem=${trouble} onAgain=${refresh} />
    <${Stale} since=${value?.find((each) => each.stale_since)?.stale_since} />
    ${found === undefined ? !trouble && html`<${Loading} what="batches" />` : html`
      <p class="quiet" role="status">${said(found.length, value.length, more, filtered)}</p>
      <ul class="batches">${found.map((each) => html`<${Row} key=${each.batch_id} batch=${each} now=${now} />`)}</ul>`}
    ${more && limit < MOST && html`
      <button onClick=${() => adjust({ limit: String(Math.min(MOST, limit * 4)) })}>Show more</button>`}`;
}

function said(shown, loaded, more, filtered) {
  if (shown === 0) return filtered ? "No batch fits." : "There are no batches yet.";
  const of = shown < loaded ? ` of the ${more ? "newest " : ""}${number(loaded)}` : "";
  return `${count(shown, "batch", "batches")}${of}${more && !of ? ", the newest" : ""}`;
}

function matches(batch, text) {
  const wanted = text.trim().toLowerCase();
  return [batch.name, batch.tool_id, batch.batch_id].some((each) => each.toLowerCase().includes(wanted));
}

function Filters({ query }) {
  const [tools, setTools] = useState([]);
  useEffect(() => {
    const ends = new AbortController();
    get("tools", { signal: ends.signal }).then(({ value }) => setTools(value), () => {});
    return () => ends.abort();
  }, []);
  const ids = tools.map((each) => each.id);
  if (query.tool && !ids.includes(query.tool)) ids.push(query.tool);
  return html`<form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
    <label>Search <input type="search" value=${query.q ?? ""} placeholder="name, tool or id"
      onInput=${(event) => adjust({ q: event.target.value })} /></label>
    <label>With jobs that are <select value=${query.status ?? ""}
      onChange=${(event) => adjust({ status: event.target.value })}>
      <option value="">in any status</option>
      ${STATUSES.map(({ name }) => html`<option key=${name} value=${name}>${name}</option>`)}
    </select></label>
    <label>Tool <select value=${query.tool ?? ""} onChange=${(event) => adjust({ tool: event.target.value })}>
      <option value="">any</option>
      ${ids.map((id) => html`<option key=${id} value=${id}>${id}</option>`)}
    </select></label>
  </form>`;
}

export function Legend() {
  return html`<ul class="legend" aria-label="What the colours mean">
    ${STATUSES.map(({ name, about }) => html`<li title=${about}><${Swatch} status=${name} />${name}</li>`)}
  </ul>`;
}

function Row({ batch, now }) {
  const counts = batch.submitted_jobs;
  return html`<li class="card">
    <div class="top">
      <a class="name" href=${link(["batches", batch.batch_id])}>${batch.name || batch.tool_id}</a>
      <span class="quiet">${batch.finished_at
        ? html`ended <${When} time=${batch.finished_at} now=${now} />`
        : html`created <${When} time=${batch.created_at} now=${now} />`}</span>
    </div>
    <${Bar} counts=${counts} />
    <div class="top quiet">
      <span>${batch.cancelled ? "Cancelled: " : ""}${inWords(counts)}</span>
      <span>${batch.tool_id} · <code>${batch.batch_id}</code></span>
    </div>
  </li>`;
}
