// Why jobs wait or have failed, grouped; with what one of those that failed printed last.
import { Swatch } from "./parts.js";
import { get, path } from "./api.js";
import { html } from "./html.js";
import { link } from "./router.js";
import { plain } from "./log.js";
import { useEffect, useState } from "./preact-hooks.js";

export function Reasons({ batch }) {
  const [logs, setLogs] = useState({});
  const ids = batch.reasons.map((each) => each.job_id).filter(Boolean).join(" ");
  useEffect(() => {
    if (!ids) return undefined;
    const ends = new AbortController();
    get(path("batches", batch.batch_id, "reasons"), { signal: ends.signal }).then(
      ({ value }) => setLogs(Object.fromEntries(value.map((each) => [each.job_id, each.log]))),
      () => {},  // the reasons themselves are there without it
    );
    return () => ends.abort();
  }, [batch.batch_id, ids]);
  if (!batch.reasons.length) return null;
  return html`<section aria-label="Why jobs wait or have failed">
    <ul class="reasons">${batch.reasons.map((each) => html`<li key=${each.text} class="card">
      <p><${Swatch} status=${each.status} />${each.text}
        ${each.job_id && html` <a href=${link(["batches", batch.batch_id, "jobs", each.job_id])}>One of them</a>`}</p>
      ${each.job_id && logs[each.job_id] && html`<details open=${batch.reasons.length < 3}>
        <summary>What it printed last</summary>
        <pre tabindex="0" aria-label=${`The last lines of job ${each.job_id}`}>${plain(logs[each.job_id])}</pre>
      </details>`}
    </li>`)}</ul>
  </section>`;
}
