// The whole service on a page: to everybody health, how old what is shown is, and what it asks of
// Slurm; to administrators the rest.
import { Facts, Loading, Trouble, useNow, useTitle } from "./parts.js";
import { NAMES, open } from "./statuses.js";
import { duration, moment, number } from "./format.js";
import { Bar } from "./parts.js";
import { Overview } from "./overview.js";
import { get } from "./api.js";
import { go } from "./router.js";
import { html } from "./html.js";
import { pause } from "./live.js";
import { useEffect, useState } from "./preact-hooks.js";

const EVERY = 5000;
const SOURCES = [["database", "Database"], ["slurmctld", "Slurm (slurmctld)"], ["slurmdbd", "Accounting (slurmdbd)"]];

export function Service() {
  useTitle("Service");
  const now = useNow();
  const { report, version, looks, trouble } = useReport();
  const totals = useTotals();
  return html`<h1>Service</h1>
    <${Trouble} problem=${trouble} />
    ${!report && !trouble && html`<${Loading} what="how the service is" />`}
    ${report && html`<${Health} report=${report} />
      <h2>Load on Slurm</h2>
      <${Facts} of=${[
        ["Looks since the start", number(report.looks)],
        ["Looks just now", looks === null ? "…" : `${Number((60 * looks).toPrecision(2))} a minute`],
        ["Asked through", report.backend],
      ]} />
      <p class="quiet">However many batches and open dashboards there are: they cost Slurm nothing.</p>
      <h2>The service itself</h2>
      <${Facts} of=${[
        ["Version", version],
        ["Requests that waited for a thread", number(report.queue.waited)],
        ["Most of them at once", number(report.queue.depth)],
        report.settings && ["Settings read", moment(report.settings.loaded_at)],
      ]} />
      ${report.settings?.ok === false && html`<div class="note bad">The settings could not be read anew
        at ${moment(report.settings.failed_at)}; those before are in force.</div>`}
      ${report.settings?.restart_needed?.length > 0 && html`<div class="note">Changed, but in force only after a
        restart: ${report.settings.restart_needed.join(", ")}</div>`}`}
    <${OfOthers} now=${now} />
    ${totals && html`<h2>Your jobs in batches that have not ended</h2>
      <${Bar} counts=${totals} />
      <p class="quiet">${NAMES.filter((name) => totals[name]).map((name) => `${number(totals[name])} ${name}`).join(", ") || "None."}</p>`}`;
}

// Only with a key that is good for it; the service says so where it is not, and keeps who has looked.
function OfOthers({ now }) {
  const show = (event) => {
    event.preventDefault();
    go([], { user: new FormData(event.target).get("user").trim() });
  };
  return html`<h2>For administrators</h2>
    <form class="filters" onSubmit=${show}>
      <label>The batches of the user <input name="user" required autocomplete="off" spellcheck=${false} /></label>
      <button>Show</button>
    </form>
    <${Overview} now=${now} />`;
}

function Health({ report }) {
  const ready = report.status === "ready";
  return html`
    <p class=${ready ? "note good" : "note bad"} role="status">${ready ? "Ready: all is well." : "Not ready: it can't do its work just now."}</p>
    <ul class="sources">${SOURCES.map(([name, title]) => html`<li key=${name} class="card">
      <strong>${title}</strong> <span class=${report[name].ok ? "good" : "bad"}>${report[name].ok ? "✓ answers" : "✗ away"}</span>
      ${!report[name].ok && html`<p>${report[name].down_since && html`Since ${moment(report[name].down_since)}. `}${report[name].error}</p>`}
    </li>`)}
    <li class="card"><strong>Age of what is shown</strong>
      <span>${report.poll_age_seconds === null ? "not looked yet" : duration(report.poll_age_seconds)}</span></li></ul>`;
}

// What /readyz tells; while it is not ready, that comes within the problem.
async function readiness(signal) {
  const answer = await fetch(new URL("../readyz", document.baseURI), { signal, cache: "no-store", credentials: "omit" });
  const report = await answer.json();
  if (!("looks" in report)) throw new Error(report.detail);
  return { ...report, status: answer.ok ? "ready" : "not ready" };
}

function useReport() {
  const [state, setState] = useState({ looks: null, version: "…" });
  useEffect(() => {
    const ends = new AbortController();
    get("healthz", { signal: ends.signal }).then(({ value }) => setState((before) => ({ ...before, version: value.version })), () => {});
    watch(ends.signal, setState);
    return () => ends.abort();
  }, []);
  return state;
}

async function watch(signal, setState) {
  let first = null;
  while (!signal.aborted) {
    try {
      const report = await readiness(signal);
      const at = performance.now() / 1000;
      if (first === null || report.looks < first.looks) first = { looks: report.looks, at };
      const passed = at - first.at;
      const looks = passed < 4 ? null : (report.looks - first.looks) / passed;
      setState((before) => ({ ...before, report, looks, trouble: undefined }));
    } catch (error) {
      if (signal.aborted) return;
      setState((before) => ({ ...before, trouble: new Error("The service can't be reached, or is going down.") }));
    }
    await pause(EVERY, signal);
  }
}

function useTotals() {
  const [totals, setTotals] = useState(null);
  useEffect(() => {
    const ends = new AbortController();
    get("batches?limit=1000", { signal: ends.signal }).then(({ value }) => {
      const going = value.filter((each) => open(each.submitted_jobs));
      setTotals(Object.fromEntries(NAMES.map((name) => [name, going.reduce((sum, each) => sum + each.submitted_jobs[name], 0)])));
    }, () => {});
    return () => ends.abort();
  }, []);
  return totals;
}
