// How a new batch is to go: in which order, after what, what of it is run again, whom to tell.
import { Field, Figure } from "./fields.js";
import { html } from "./html.js";
import { number } from "./format.js";
import { Mistake, given } from "./sweep.js";
import { useState } from "./preact-hooks.js";

const TYPES = ["afterok", "afterany", "aftercorr"];
const OURS = /^\/(max_parallel|canary|depends_on|retry|notify)\b/;
const YES_OR_NO = { "": undefined, yes: true, no: false };

export function initialCourse(query) {
  return {
    max_parallel: "", canary: "", depends_on: query.after ?? "", max_attempts: "", memory_factor: "",
    time_factor: "", node_failures: "", notify: "", first_failure: false,
  };
}

// What stands in its fields, as part of a body. `tried` reads a field, and keeps a mistake of it;
// `figure` so a number, if there is one.
export function course(form, tried, figure) {
  const retry = given({
    max_attempts: figure("/retry/max_attempts", form.max_attempts),
    memory_factor: figure("/retry/memory_factor", form.memory_factor, "number"),
    time_factor: figure("/retry/time_factor", form.time_factor, "number"),
    node_failures: YES_OR_NO[form.node_failures],
  });
  const parents = tried("/depends_on", () => dependencies(form.depends_on)) ?? [];
  const url = form.notify.trim();
  return given({
    max_parallel: figure("/max_parallel", form.max_parallel),
    canary: figure("/canary", form.canary),
    depends_on: parents.length ? parents : undefined,
    retry: Object.keys(retry).length ? retry : undefined,
    notify: url ? { url, on: form.first_failure ? ["finished", "first_failure"] : ["finished"] } : undefined,
  });
}

// Ids between spaces, commas or lines, each with its kind after a colon, or without.
function dependencies(text) {
  return text.split(/[\s,]+/).filter(Boolean).map((each) => {
    const [id, type, ...more] = each.split(":");
    if (!id || more.length || (type !== undefined && !TYPES.includes(type)))
      throw new Mistake(`Expected ids of batches, each alone or with ${TYPES.map((one) => `:${one}`).join(", ")}, not "${each}".`);
    return type === undefined ? id : { batch_id: id, type };
  });
}

export function Course({ tool, form, wrong, onChange }) {
  const { retry } = tool;
  const [isOpen] = useState(Boolean(form.depends_on));  // where a link has filled it in
  const props = { form, wrong, onChange };
  const typed = (name) => (event) => onChange({ [name]: event.target.value });
  const factor = (one) => (one === null ? "no rerun for it if left empty" : `${number(one)} if left empty`);
  const isWrong = Object.keys(wrong).some((each) => OURS.test(each));
  return html`<fieldset><legend>How it goes</legend><details open=${isWrong || isOpen}>
  <summary>How many at once, a test first, retries, what it waits for, whom to tell</summary><div class="fields">
    <${Figure} name="max_parallel" where="/max_parallel" label="At once, at most" hint="jobs; no limit if left empty" ...${props} />
    <${Figure} name="canary" where="/canary" label="First, as a test" hint="so many jobs; the others if those succeed" ...${props} />
    <${Figure} name="max_attempts" where="/retry/max_attempts" label="Runs of a job, at most"
      hint=${`where it lacks memory or time; ${number(retry.max_attempts)} if left empty`} ...${props} />
    <${Figure} name="memory_factor" where="/retry/memory_factor" label="A rerun's memory, times" mode="decimal"
      hint=${factor(retry.memory_factor)} ...${props} />
    <${Figure} name="time_factor" where="/retry/time_factor" label="A rerun's time, times" mode="decimal"
      hint=${factor(retry.time_factor)} ...${props} />
    <${Field} id="node_failures" label="Rerun if its node fails" hint=${`or a preemption; the tool's own: ${retry.node_failures ? "yes" : "no"}`}
      mistake=${wrong["/retry/node_failures"]}>${(props) => html`
      <select ...${props} value=${form.node_failures} onChange=${typed("node_failures")}>
        <option value="">the tool's own</option>
        <option value="yes">yes</option><option value="no">no</option></select>`}<//>
  </div>
  <${Field} id="depends_on" label="After these batches" mistake=${wrong["/depends_on"]}
    hint=${"their ids; after an id :afterok (all of it has to succeed; so it is if left out), :afterany (it has to end) or :aftercorr (job by job)"}>${(props) => html`
    <textarea rows="1" ...${props} value=${form.depends_on} spellcheck=${false} onInput=${typed("depends_on")}></textarea>`}<//>
  <${Field} id="notify" label="Tell this address when it has ended" hint="its host is one that the administrator allows"
    mistake=${wrong["/notify"]}>${(props) => html`
    <input ...${props} type="url" value=${form.notify} autocomplete="off" spellcheck=${false} onInput=${typed("notify")} />`}<//>
  ${form.notify.trim() && html`<label class="check"><input type="checkbox" checked=${form.first_failure}
    onChange=${(event) => onChange({ first_failure: event.target.checked })} /> and when its first job fails</label>`}
  </details></fieldset>`;
}
