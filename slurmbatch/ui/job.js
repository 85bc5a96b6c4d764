// One job: what it was given, what became of it, its attempts, and what it prints.
import { Badge, Bar, Facts, Loading, Swatch, Trouble, useNow, useTitle } from "./parts.js";
import { count, duration, memory, moment, number } from "./format.js";
import { Log } from "./log.js";
import { NAMES } from "./statuses.js";
import { html } from "./html.js";
import { adjust, link } from "./router.js";
import { RetryJob } from "./actions.js";
import { get, path } from "./api.js";
import { useEffect, useState } from "./preact-hooks.js";
import { useLive } from "./live.js";

const isOver = (job) => job.status === "SUCCEEDED" || job.status === "FAILED";

export function JobView({ batchId, jobId, query }) {
  const { value: job, trouble, refresh } = useLive(path("batches", batchId, "jobs", jobId), { isDone: isOver });
  const now = useNow(1000);
  useTitle(job ? `Job ${job.index}` : "Job");
  const batch = useBatch(batchId);
  const up = html`<nav aria-label="Where this is"><a href="#/">Batches</a> › <a href=${link(["batches", batchId])}>${
    batch?.name || batch?.tool_id || "the batch"}</a> › </nav>`;
  if (trouble?.status === 404)
    return html`${up}<h1>There is no such job</h1><p>Its batch has been deleted, or is not yours.</p>`;
  if (!job) return html`${up}${trouble ? html`<h1>Job</h1><${Trouble} problem=${trouble} onAgain=${refresh} />` : html`<${Loading} what="the job" />`}`;
  const attempt = Number.parseInt(query.attempt, 10);
  const chosen = job.attempts.some((each) => each.attempt === attempt) ? attempt : 0;
  return html`${up}
    <div class="top"><h1>Job ${number(job.index)} <${Badge} status=${job.status} /></h1>
      <span class="actions"><${RetryJob} job=${job} onDone=${refresh} /></span></div>
    <${Neighbours} job=${job} nJobs=${batch?.n_jobs} />
    <${Trouble} problem=${trouble} onAgain=${refresh} />
    <p class=${job.never_runs ? "note bad" : "lead"}>${job.reason}</p>
    <div class="columns">
      <section aria-labelledby="args"><h2 id="args">Arguments</h2><${Arguments} of=${job.args} /></section>
      <section aria-labelledby="about"><h2 id="about">About it</h2><${About} job=${job} now=${now} /></section>
    </div>
    <${Times} of=${job.time_in_status} />
    ${job.attempts.length > 0 && html`<${Attempts} job=${job} chosen=${chosen} />`}
    <h2>Log${chosen ? ` of attempt ${chosen}` : ""}</h2>
    <${Log} batchId=${batchId} jobId=${jobId} attempt=${chosen || undefined} isOver=${isOver(job)}
      key=${`${job.attempt} ${chosen}`} />`;
}

// What it is part of: asked once, for its name and its number of jobs.
function useBatch(batchId) {
  const [batch, setBatch] = useState(null);
  useEffect(() => {
    const ends = new AbortController();
    get(path("batches", batchId), { signal: ends.signal }).then(({ value }) => setBatch(value), () => {});
    return () => ends.abort();
  }, [batchId]);
  return batch;
}

function Neighbours({ job, nJobs }) {
  const to = (index, text) => html`<a href=${link(["batches", job.batch_id, "jobs", `${job.batch_id}-${index}`])}>${text}</a>`;
  return html`<p class="quiet">${job.index > 0 && to(job.index - 1, `‹ job ${number(job.index - 1)}`)}
    ${job.index > 0 && job.index + 1 < nJobs && " · "}
    ${job.index + 1 < nJobs && to(job.index + 1, `job ${number(job.index + 1)} ›`)}</p>`;
}

function Arguments({ of }) {
  const given = Object.entries(of);
  if (!given.length) return html`<p class="quiet">None.</p>`;
  return html`<table class="args"><tbody>${given.map(([name, value]) => html`<tr key=${name}>
    <th scope="row">${name}</th><td>${String(value)}</td></tr>`)}</tbody></table>`;
}

function About({ job, now }) {
  const ended = isOver(job);
  const elapsed = job.start_time && !ended ? Math.max(0, (now - Date.parse(job.start_time)) / 1000) : job.elapsed;
  return html`<${Facts} of=${[
    ["Job", html`<code>${job.job_id}</code>`],
    job.slurm_job_id && ["In Slurm", html`<code>${job.slurm_job_id}</code>${job.slurm_state && ` ${job.slurm_state}`}`],
    job.node_list && ["Node", job.node_list],
    ["Created", moment(job.create_time)],
    ["Started", job.start_time ? moment(job.start_time)
      : job.expected_start && !ended ? `expected ${moment(job.expected_start)}` : "–"],
    ["Ended", moment(job.stop_time)],
    ["Ran for", duration(elapsed)],
    ["Time limit", job.time_limit === null ? "Slurm's own" : duration(job.time_limit * 60)],
    ["Memory", `${memory(job.hardware.memory)} asked for, ${job.max_rss === null ? "use not known" : `${memory(job.max_rss)} used`}`],
    ["CPUs", `${number(job.hardware.cpu)}${job.cpu_time === null ? "" : `, ${duration(job.cpu_time)} of CPU time`}`],
    job.exit_code !== null && ["Exit code", `${job.exit_code}${job.signal ? `, signal ${job.signal}` : ""}`],
    ["Attempt", String(job.attempt)],
  ]} />`;
}

function Times({ of }) {
  const counts = { ...Object.fromEntries(NAMES.map((name) => [name, 0])), ...of };
  const spent = NAMES.filter((name) => counts[name] > 0);
  if (!spent.length) return null;
  const words = spent.map((name) => `${duration(counts[name])} ${name}`).join(", ");
  return html`<section aria-labelledby="times"><h2 id="times">Where its time went</h2>
    <${Bar} counts=${counts} label=${words} />
    <ul class="legend">${spent.map((name) => html`<li key=${name}><${Swatch} status=${name} />${name} ${duration(counts[name])}</li>`)}</ul>
  </section>`;
}

function Attempts({ job, chosen }) {
  const button = (attempt, text) => html`<button class="chip" aria-pressed=${chosen === attempt ? "true" : "false"}
    onClick=${() => adjust({ attempt: attempt ? String(attempt) : "" })}>${text}</button>`;
  return html`<section aria-labelledby="attempts"><h2 id="attempts">${count(job.attempts.length, "attempt")} before this one</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Attempts"><table><thead><tr>
      <th scope="col">Attempt</th><th scope="col">Reason</th><th scope="col">Node</th><th scope="col">Started</th>
      <th scope="col">Ended</th><th scope="col">Memory</th><th scope="col">Log</th></tr></thead>
    <tbody>${job.attempts.map((each) => html`<tr key=${each.attempt}>
      <th scope="row">${each.attempt}</th><td class="wide">${each.reason}</td><td>${each.node_list || "–"}</td>
      <td>${moment(each.start_time)}</td><td>${moment(each.stop_time)}</td>
      <td>${memory(each.max_rss)} of ${memory(each.memory)}</td><td>${button(each.attempt, "Show")}</td></tr>`)}
      <tr><th scope="row">${job.attempt}</th><td class="wide">${job.reason}</td><td>${job.node_list || "–"}</td>
      <td>${moment(job.start_time)}</td><td>${moment(job.stop_time)}</td>
      <td>${memory(job.max_rss)} of ${memory(job.hardware.memory)}</td><td>${button(0, "Show")}</td></tr>
    </tbody></table></div></section>`;
}
