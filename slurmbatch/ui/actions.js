// What can be done to a batch; each asks first, and says what will happen.
import { NAMES, inWords, open } from "./statuses.js";
import { ask, path } from "./api.js";
import { count } from "./format.js";
import { Trouble } from "./parts.js";
import { go, link } from "./router.js";
import { html } from "./html.js";
import { useEffect, useRef, useState } from "./preact-hooks.js";

export function Actions({ batch, onDone }) {
  const [shown, setShown] = useState(null);
  const counts = batch.submitted_jobs;
  const props = { batch, onClose: () => setShown(null), onDone };
  return html`<div class="actions">
    <a class="button" href=${link(["new"], { after: batch.batch_id })}>Another after it …</a>
    <button disabled=${!open(counts)} onClick=${() => setShown("cancel")}>Cancel …</button>
    <button disabled=${!counts.FAILED} onClick=${() => setShown("retry")}>Retry …</button>
    <button class="bad" onClick=${() => setShown("delete")}>Delete …</button>
    ${shown === "cancel" && html`<${Cancel} ...${props} />`}
    ${shown === "retry" && html`<${Retry} ...${props} />`}
    ${shown === "delete" && html`<${Delete} ...${props} />`}
  </div>`;
}

function Dialog({ title, action, bad, onAct, onClose, children }) {
  const dialog = useRef();
  const [state, setState] = useState({});
  useEffect(() => { dialog.current.showModal(); }, []);
  const act = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    try {
      await onAct();
      dialog.current.close();
    } catch (problem) {
      setState({ problem });
    }
  };
  return html`<dialog ref=${dialog} aria-labelledby="dialog-title" onClose=${onClose}>
    <form onSubmit=${act}>
      <h2 id="dialog-title">${title}</h2>
      ${children}
      <${Trouble} problem=${state.problem} />
      <div class="actions">
        <button type="button" onClick=${() => dialog.current.close()}>Keep it as it is</button>
        <button class=${bad ? "main bad" : "main"} disabled=${state.busy}>${action}</button>
      </div>
    </form>
  </dialog>`;
}

function ended(counts) {
  return inWords({ ...Object.fromEntries(NAMES.map((name) => [name, 0])), SUCCEEDED: counts.SUCCEEDED, FAILED: counts.FAILED });
}

function stopped(counts) {
  const runs = counts.STARTING + counts.RUNNING;
  const waits = open(counts) - runs;
  const parts = [runs && `${count(runs, "job")} that ${runs === 1 ? "runs" : "run"} ${runs === 1 ? "is" : "are"} ended in Slurm`,
    waits && `${count(waits, "job")} that ${waits === 1 ? "waits" : "wait"} will not begin`];
  return parts.filter(Boolean).join(", and ");
}

function Cancel({ batch, onClose, onDone }) {
  const counts = batch.submitted_jobs;
  const act = async () => {
    await ask("POST", path("batches", batch.batch_id, "cancel"));
    onDone();
  };
  return html`<${Dialog} title="Cancel this batch?" bad=${true} onAct=${act} onClose=${onClose}
    action=${`Cancel ${count(open(counts), "job")}`}>
    <p>${stopped(counts)}; each will be FAILED, as cancelled by request. What has ended
      (${ended(counts)}) stays as it is, and so do all logs. Cancelled jobs can be retried.</p>
  <//>`;
}

// The same for one job.
export function RetryJob({ job, onDone }) {
  const [shown, setShown] = useState(false);
  return html`<button disabled=${job.status !== "FAILED"} onClick=${() => setShown(true)}>Retry …</button>
    ${shown && html`<${Retrying} batchId=${job.batch_id} failed=${1} classes=${[]} indices=${[job.index]}
      onClose=${() => setShown(false)} onDone=${onDone} />`}`;
}

function Retry({ batch, onClose, onDone }) {
  const failed = batch.reasons.filter((each) => each.status === "FAILED");
  const classes = [...new Set(failed.map((each) => each.reason.split(":")[0]))];
  return html`<${Retrying} batchId=${batch.batch_id} failed=${batch.submitted_jobs.FAILED} classes=${classes}
    onClose=${onClose} onDone=${onDone} />`;
}

function Retrying({ batchId, failed, classes, indices, onClose, onDone }) {
  const form = useRef();
  // A request that is sent again, because its answer was lost, is carried out once.
  const key = useRef(crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`);
  const act = async () => {
    const given = new FormData(form.current.closest("form"));
    const asked = new URLSearchParams(given.getAll("reason").map((each) => ["reason", each]));
    const body = indices ? { indices } : {};
    for (const name of ["memory_factor", "time_factor"]) if (given.get(name)) body[name] = Number(given.get(name));
    if (given.get("exclude_failed_nodes")) body.exclude_failed_nodes = true;
    const where = `${path("batches", batchId, "retry")}${asked.size ? `?${asked}` : ""}`;
    await ask("POST", where, { body, headers: { "Idempotency-Key": key.current } });
    onDone();
  };
  return html`<${Dialog} title="Retry what has failed?" onAct=${act} onClose=${onClose} action="Retry">
    <p>${count(failed, "failed job")} ${failed === 1 ? "runs" : "run"} a second time, with all that ${failed === 1 ? "it does" : "they do"},
      under the same ids. What ${failed === 1 ? "it was" : "they were"} and printed before is kept among the attempts.</p>
    <div ref=${form}>
      ${classes.length > 1 && html`<fieldset><legend>Only those that failed as (none: all)</legend>
        ${classes.map((each) => html`<label key=${each} class="check"><input type="checkbox" name="reason" value=${each} /> ${each}</label>`)}
      </fieldset>`}
      <label>Times the memory <input type="number" name="memory_factor" min="1" max="100" step="any" placeholder="1" /></label>
      <label>Times the time limit <input type="number" name="time_factor" min="1" max="100" step="any" placeholder="1" /></label>
      <label class="check"><input type="checkbox" name="exclude_failed_nodes" /> Not on the nodes on which they failed</label>
    </div>
  <//>`;
}

function Delete({ batch, onClose }) {
  const counts = batch.submitted_jobs;
  const act = async () => {
    await ask("DELETE", path("batches", batch.batch_id)).catch((problem) => {
      if (problem.status !== 404) throw problem;  // it is gone already
    });
    go([]);
  };
  return html`<${Dialog} title="Delete this batch?" bad=${true} onAct=${act} onClose=${onClose}
    action=${`Delete ${count(batch.n_jobs, "job")}`}>
    <p>The batch, its ${count(batch.n_jobs, "job")} and all that they printed are gone at once, for good:
      there is no way back.</p>
    ${open(counts) > 0 && html`<p><strong>${stopped(counts)}.</strong></p>`}
    <p>Files that the jobs have written elsewhere stay.</p>
  <//>`;
}
