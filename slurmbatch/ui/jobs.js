// The jobs of a batch as a table, a page at a time.
import { Badge, Loading, Trouble } from "./parts.js";
import { html } from "./html.js";
import { duration, number } from "./format.js";
import { link } from "./router.js";
import { get, path } from "./api.js";
import { useEffect, useState } from "./preact-hooks.js";

const A_PAGE = 50;

export function args(of) {
  return Object.entries(of).map(([name, value]) => `${name}=${value}`).join(" ");
}

export function JobTable({ batch, status }) {
  // The ids after which the pages begin that have been looked at; the last one is shown.
  const [pages, setPages] = useState([""]);
  const [state, setState] = useState({});
  const after = pages.at(-1);
  useEffect(() => setPages([""]), [status]);
  useEffect(() => {
    const ends = new AbortController();
    const asked = new URLSearchParams({ limit: A_PAGE });
    if (after) asked.set("after", after);
    if (status) asked.set("status", status);
    get(`${path("batches", batch.batch_id, "jobs")}?${asked}`, { signal: ends.signal }).then(
      ({ value, more }) => setState({ jobs: value, more }),
      (trouble) => ends.signal.aborted || setState((before) => ({ ...before, trouble })),
    );
    return () => ends.abort();
  }, [batch.version, after, status]);
  const { jobs, more, trouble } = state;
  if (!jobs) return trouble ? html`<${Trouble} problem=${trouble} />` : html`<${Loading} what="its jobs" />`;
  return html`
    <${Trouble} problem=${trouble} />
    <div class="scroll" tabindex="0" role="region" aria-label="Jobs">
      <table><thead><tr><th scope="col">Job</th><th scope="col">Status</th><th scope="col">Ran for</th>
        <th scope="col">Arguments</th><th scope="col">Reason</th></tr></thead>
      <tbody>${jobs.map((each) => html`<tr key=${each.job_id}>
        <th scope="row"><a href=${link(["batches", batch.batch_id, "jobs", each.job_id])}>${number(each.index)}</a></th>
        <td><${Badge} status=${each.status} /></td>
        <td>${each.start_time && each.stop_time ? duration((Date.parse(each.stop_time) - Date.parse(each.start_time)) / 1000) : "–"}</td>
        <td class="wide">${args(each.args)}</td><td class="wide">${each.reason}</td></tr>`)}</tbody></table>
    </div>
    ${jobs.length === 0 && html`<p class="quiet">No job ${status ? `is ${status}` : "is there"}.</p>`}
    <p class="top">
      <button disabled=${pages.length < 2} onClick=${() => setPages(pages.slice(0, -1))}>Previous</button>
      <button disabled=${!more} onClick=${() => setPages([...pages, jobs.at(-1).job_id])}>Next</button>
    </p>`;
}
