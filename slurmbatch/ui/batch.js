// One batch: why its jobs wait or have failed, and all of its jobs in one of several ways.
import { Bar, Facts, Loading, Stale, Swatch, Trouble, When, useNow, useTitle } from "./parts.js";
import { NAMES, open } from "./statuses.js";
import { adjust, go, link } from "./router.js";
import { count, duration, memory, moment, number } from "./format.js";
import { Actions } from "./actions.js";
import { Curves } from "./curves.js";
import { Grid } from "./grid.js";
import { JobTable } from "./jobs.js";
import { Reasons } from "./reasons.js";
import { Timeline } from "./timeline.js";
import { Usage } from "./usage.js";
import { get, path } from "./api.js";
import { html } from "./html.js";
import { useEffect, useState } from "./preact-hooks.js";
import { useLive } from "./live.js";

const VIEWS = [["grid", "Grid"], ["timeline", "Timeline"], ["curves", "Curves"], ["usage", "Asked and used"], ["jobs", "Table"]];
const OF_ALL_JOBS = new Set(["grid", "timeline", "curves"]);

export function BatchView({ batchId, query }) {
  const now = useNow();
  const where = path("batches", batchId);
  const { value: batch, trouble, refresh } = useLive(where, { isDone: (each) => Boolean(each.finished_at) });
  useTitle(batch ? batch.name || batch.tool_id : "Batch");
  if (!batch) return trouble ? html`<${Missing} problem=${trouble} onAgain=${refresh} />` : html`<${Loading} what="the batch" />`;
  if (trouble?.status === 404) return html`<${Missing} problem=${trouble} />`;
  return html`
    <nav aria-label="Where this is"><a href="#/">Batches</a> › </nav>
    <div class="top">
      <h1>${batch.name || batch.tool_id}</h1>
      <${Actions} batch=${batch} onDone=${refresh} />
    </div>
    <${Trouble} problem=${trouble} onAgain=${refresh} />
    <${Stale} since=${batch.stale_since} />
    ${batch.cancelled && html`<div class="note">This batch has been cancelled.</div>`}
    <${Bar} counts=${batch.submitted_jobs} />
    <${Counts} counts=${batch.submitted_jobs} only=${query.status} />
    <${About} batch=${batch} now=${now} />
    <${Reasons} batch=${batch} />
    <${Views} batch=${batch} query=${query} />`;
}

function Missing({ problem, onAgain }) {
  return problem.status === 404
    ? html`<h1>There is no such batch</h1><p>It has been deleted, or is not yours. <a href="#/">To the batches</a></p>`
    : html`<h1>Batch</h1><${Trouble} problem=${problem} onAgain=${onAgain} />`;
}

// The legend; each of it shows only the jobs of that status, or all of them again.
function Counts({ counts, only }) {
  return html`<ul class="legend" aria-label="Jobs by status; press one to see only those">
    ${NAMES.map((name) => html`<li key=${name}><button class="chip" aria-pressed=${only === name ? "true" : "false"}
      onClick=${() => adjust({ status: only === name ? "" : name })}>
      <${Swatch} status=${name} />${name} <strong>${number(counts[name])}</strong></button></li>`)}
  </ul>`;
}

function About({ batch, now }) {
  const { hardware, slurm } = batch;
  const rerun = again(batch.retry);
  return html`<${Facts} of=${[
    ["Batch", html`<code>${batch.batch_id}</code>`],
    ["Tool", batch.tool_id],
    ["Jobs", `${number(batch.n_jobs)}, ${batch.n_submitted === batch.n_jobs ? "all" : number(batch.n_submitted)} accepted by Slurm`],
    ["Created", html`<${When} time=${batch.created_at} now=${now} />`],
    batch.finished_at
      ? ["Took", duration((Date.parse(batch.finished_at) - Date.parse(batch.created_at)) / 1000)]
      : ["May end", batch.expected_end ? moment(batch.expected_end) : "not known yet"],
    ["Each job", `${count(hardware.cpu, "CPU")}, ${memory(hardware.memory)}${slurm.gpus ? `, ${count(slurm.gpus, "GPU")}` : ""}`],
    ["Time limit", slurm.time_limit === null ? "Slurm's own" : duration(slurm.time_limit * 60)],
    hardware.filesystems.length > 0 && ["Filesystems", hardware.filesystems.join(", ")],
    slurm.partition && ["Partition", slurm.partition],
    slurm.account && ["Account", slurm.account],
    slurm.qos && ["QOS", slurm.qos],
    batch.max_parallel !== null && ["At once", `${number(batch.max_parallel)} at most`],
    rerun && ["Run again", rerun],
    batch.canary > 0 && ["First", `${number(batch.canary)}, the others if they succeed`],
    batch.depends_on.length > 0 && ["After", html`${batch.depends_on.map((each, at) => html`${at ? ", " : ""}
      <a key=${each.batch_id} href=${link(["batches", each.batch_id])}>${each.batch_id}</a> (${each.type})`)}`],
  ]} />`;
}

// What of it is run again by itself; "" if nothing is.
function again({ max_attempts: runs, memory_factor: memory, time_factor: time, node_failures: nodes }) {
  const more = [memory && `${number(memory)} × the memory`, time && `${number(time)} × the time`].filter(Boolean);
  return [runs > 1 && more.length > 0 && `with ${more.join(" or ")}, ${number(runs)} runs at most`,
    nodes && "when its node fails"].filter(Boolean).join("; ");
}

function Views({ batch, query }) {
  const chosen = VIEWS.some(([name]) => name === query.view) ? query.view : "grid";
  const onOpen = (index) => go(["batches", batch.batch_id, "jobs", `${batch.batch_id}-${index}`]);
  return html`
    <nav class="tabs" aria-label="Ways to look at its jobs">
      ${VIEWS.map(([name, title]) => html`<a key=${name} aria-current=${name === chosen ? "page" : undefined}
        href=${link(["batches", batch.batch_id], { ...query, view: name === "grid" ? "" : name })}>${title}</a>`)}
    </nav>
    ${chosen === "jobs" && html`<${JobTable} batch=${batch} status=${query.status} />`}
    ${chosen === "usage" && html`<${Usage} usage=${batch.usage} />`}
    ${OF_ALL_JOBS.has(chosen) && html`<${AllJobs} batch=${batch} view=${chosen} only=${query.status} onOpen=${onOpen} />`}`;
}

function AllJobs({ batch, view, only, onOpen }) {
  const { brief, trouble } = useBrief(batch);
  if (!brief) return trouble ? html`<${Trouble} problem=${trouble} />` : html`<${Loading} what="its jobs" />`;
  if (view === "curves") return html`<${Curves} brief=${brief} batch=${batch} />`;
  const Shown = view === "grid" ? Grid : Timeline;
  return html`<${Shown} brief=${brief} only=${only} onOpen=${onOpen} />
    <p class="quiet">${view === "timeline" ? "A line for each job: grey while it waited, in colour while it ran. " : ""}${open(batch.submitted_jobs) ? "It moves as jobs begin and end. " : ""}The same as text is in
      the <a href=${link(["batches", batch.batch_id], { view: "jobs", status: only })}>table</a>.</p>`;
}

// All jobs in brief, asked for again when the batch has changed: one such request at a time.
function useBrief(batch) {
  const [state, setState] = useState({});
  useEffect(() => {
    if (state.busy || state.brief?.version === batch.version || state.failed === batch.version) return;
    setState((before) => ({ ...before, busy: true }));
    get(path("batches", batch.batch_id, "statuses")).then(
      ({ value }) => setState({ brief: value, failed: value.version === batch.version ? "" : batch.version }),
      (trouble) => setState((before) => ({ ...before, busy: false, trouble, failed: batch.version })),
    );
  }, [batch.version, state.busy]);
  return state;
}
