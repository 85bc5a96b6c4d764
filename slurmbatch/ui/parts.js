// Small things that several views have.
import { html } from "./html.js";
import { NAMES, inWords } from "./statuses.js";
import { ago, moment, number } from "./format.js";
import { useEffect, useState } from "./preact-hooks.js";

export function useTitle(title) {
  useEffect(() => { document.title = `${title} – slurmbatch`; }, [title]);
}

// The time, anew every few seconds, so that ages grow.
export function useNow(every = 5000) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => document.hidden || setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}

export function Bar({ counts, label }) {
  const total = NAMES.reduce((sum, name) => sum + counts[name], 0);
  return html`<div class="bar" role="img" aria-label=${label ?? inWords(counts)}>
    ${NAMES.map((name) => counts[name] > 0 && html`
      <span key=${name} class=${name.toLowerCase()} title=${`${number(counts[name])} ${name}`}
        style=${{ flexGrow: counts[name] / total }}></span>`)}
  </div>`;
}

export function Swatch({ status }) {
  return html`<span class=${`swatch ${status.toLowerCase()}`} aria-hidden="true"></span>`;
}

export function Badge({ status }) {
  return html`<span class="badge"><${Swatch} status=${status} />${status}</span>`;
}

export function When({ time, now }) {
  if (!time) return "–";
  return html`<time datetime=${time} title=${moment(time)}>${ago(time, now)}</time>`;
}

export function Facts({ of }) {
  return html`<dl class="facts">
    ${of.filter(Boolean).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}

export function Trouble({ problem, onAgain }) {
  if (!problem) return null;
  return html`<div class="note bad" role="alert">
    <strong>${problem.message}</strong>
    ${problem.errors?.length > 0 && html`<ul>
      ${problem.errors.map((each) => html`<li><code>${each.pointer || "/"}</code>: ${each.detail}</li>`)}
    </ul>`}
    ${problem.requestId && html` <small>Request <code>${problem.requestId}</code></small>`}
    ${onAgain && html` <button onClick=${onAgain}>Try again</button>`}
  </div>`;
}

export function Stale({ since }) {
  if (!since) return null;
  return html`<div class="note" role="status">Slurm is out of reach. What is shown is as of
    <time datetime=${since}>${moment(since)}</time>, and may have changed since.</div>`;
}

export function Loading({ what }) {
  return html`<p class="quiet" role="status">Loading ${what} …</p>`;
}
