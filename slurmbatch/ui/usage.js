// What was asked for beside what the jobs used that succeeded.
import { count, duration, memory, number } from "./format.js";
import { html } from "./html.js";

const KINDS = [
  ["memory", "Memory", memory],
  ["time", "Time", duration],
  ["cpu", "CPUs", (value) => (value === null ? "–" : number(Number(value.toPrecision(3))))],
];

export function Usage({ usage }) {
  if (!usage.n_jobs) return html`<p class="quiet">Nothing is known yet: no job has succeeded, or
    Slurm's accounting has not told yet what they used.</p>`;
  return html`
    <p class="quiet">Of ${count(usage.n_jobs, "job")} that succeeded.</p>
    ${KINDS.map(([name, title, say]) => html`<${Used} key=${name} title=${title} say=${say} of=${usage[name]} />`)}
    ${usage.suggestions.length > 0 && html`<div class="note">
      ${usage.suggestions.map((each) => html`<p key=${each}>${each}</p>`)}</div>`}`;
}

function Used({ title, say, of }) {
  const most = Math.max(of.asked ?? 0, of.max ?? 0) || 1;
  const share = (value) => `${(100 * Math.min(value ?? 0, most)) / most}%`;
  const marks = [["half of the jobs", of.p50], ["95 of 100", of.p95], ["all", of.max]];
  return html`<section class="used">
    <h3>${title}</h3>
    <div class="gauge" aria-hidden="true">
      <span class="asked" style=${{ width: share(of.asked) }}></span>
      <span class="used-most" style=${{ width: share(of.max) }}></span>
      <span class="used-half" style=${{ width: share(of.p50) }}></span>
    </div>
    <p>Asked for <strong>${of.asked === null ? "Slurm's own default" : say(of.asked)}</strong>;
      ${of.max === null ? " what was used is not known."
        : marks.map(([who, value], at) => html`${at ? ", " : " "}${who} used at most <strong>${say(value)}</strong>`)}</p>
  </section>`;
}
