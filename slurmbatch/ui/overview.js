// What only administrators see of the service: what waits, what it asks of Slurm, who is busiest,
// outages and the audit trail. Whoever's key is not good for that is asked for once, and sees none.
import { Bar, Facts, Trouble, When } from "./parts.js";
import { count, duration, moment, number } from "./format.js";
import { html } from "./html.js";
import { inWords } from "./statuses.js";
import { link } from "./router.js";
import { useEffect, useState } from "./preact-hooks.js";
import { useLive } from "./live.js";

const EVERY = 10000;
const FORBIDDEN = 403;

export function Overview({ now }) {
  const [may, setMay] = useState(true);
  const { value, trouble } = useLive(may ? "service" : null, { every: EVERY });
  const forbidden = trouble?.status === FORBIDDEN;
  useEffect(() => { if (forbidden) setMay(false); }, [forbidden]);
  if (!may || forbidden) return null;
  return html`<${Trouble} problem=${trouble} />
    ${value && html`<${Work} of=${value} />
      <h3>Busiest users</h3><${Users} of=${value.users} />
      <h3>Outages</h3>
      <p class="quiet">Since the start of the service, ${moment(value.began_at)}: 50 at most.</p>
      <${Outages} of=${value.outages} now=${now} />
      <h3>Audit trail</h3>
      <p class="quiet">The newest 50; <code>slurmbatch admin audit</code> has all of it.</p>
      <${Acts} of=${value.audit} />`}`;
}

function Work({ of: { intents, looks, live_batches, submitted_jobs } }) {
  const age = intents.oldest_age_seconds;
  return html`<${Facts} of=${[
      ["Hand-overs that wait", intents.arrays ? `${count(intents.arrays, "array")}, ${count(intents.jobs, "job")}` : "none"],
      ["The oldest of them", age === null ? "–" : duration(age)],
      ["Looks at Slurm in the last minute", number(looks.last_minute)],
      ["How long they took", looks.mean_seconds === null ? "–"
        : `${seconds(looks.mean_seconds)}, ${seconds(looks.longest_seconds)} at most`],
      ["Batches that have not ended", number(live_batches)],
    ]} />
    <h3>The jobs of all users in batches that have not ended</h3>
    <${Bar} counts=${submitted_jobs} />
    <p class="quiet">${inWords(submitted_jobs)}</p>`;
}

const seconds = (value) => `${Number(value.toPrecision(2))} s`;

// Texts are what users and Slurm have written: they go into the page as texts only.
function Table({ name, heads, rows, none }) {
  if (rows.length === 0) return html`<p>${none}</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${name}><table>
    <thead><tr>${heads.map((head) => html`<th scope="col" key=${head}>${head}</th>`)}</tr></thead>
    <tbody>${rows.map((row, at) => html`<tr key=${at}>
      ${row.map((cell, column) => html`<td key=${column} class=${column === row.length - 1 ? "wide" : undefined}>${cell}</td>`)}
    </tr>`)}</tbody></table></div>`;
}

function Users({ of: users }) {
  return html`<${Table} name="Busiest users" none="Nobody has a batch that has not ended."
    heads=${["User", "Live jobs", "Batches", "By status"]}
    rows=${users.map((each) => [
      html`<a href=${link([], { user: each.user })}>${each.user}</a>`,
      number(each.live_jobs), number(each.live_batches), inWords(each.submitted_jobs),
    ])} />`;
}

function Outages({ of: outages, now }) {
  return html`<${Table} name="Outages" none="None."
    heads=${["What", "Began", "Ended", "Error"]}
    rows=${outages.map((each) => [
      each.source, html`<${When} time=${each.began_at} now=${now} />`,
      each.ended_at ? moment(each.ended_at) : html`<span class="bad">goes on</span>`, each.error,
    ])} />`;
}

function Acts({ of: acts }) {
  return html`<${Table} name="Audit trail" none="Nothing is in it."
    heads=${["When", "Who", "What", "Outcome", "Target", "Whose", "With", "From", "Details"]}
    rows=${acts.map((each) => [
      html`<time datetime=${each.at}>${moment(each.at)}</time>`, each.user, each.what, each.outcome,
      html`<code>${each.target}</code>`, each.owner, each.credential, each.remote, each.detail,
    ])} />`;
}
