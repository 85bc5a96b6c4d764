// The fields of a new batch.
import { html } from "./html.js";
import { number } from "./format.js";

export function Field({ id, label, hint, mistake, children }) {
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${children({ id, "aria-describedby": `${id}-hint`, "aria-invalid": mistake ? "true" : undefined })}
    <p id=${`${id}-hint`} class=${mistake ? "trouble" : "hint"}>${mistake || hint}</p>
  </div>`;
}

function limits({ minimum, maximum, max_length: longest, pattern }) {
  return [
    minimum !== null && `at least ${number(minimum)}`, maximum !== null && `at most ${number(maximum)}`,
    longest !== null && `at most ${number(longest)} characters`, pattern && `must match ${pattern}`,
  ].filter(Boolean).join(", ");
}

export function Parameter({ of, text, swept, mistake, onText, onSwept }) {
  const id = `arg-${of.name}`;
  const standard = of.default === null ? (of.required ? "" : "left out") : `${of.default} if left empty`;
  const hint = [of.description, limits(of), standard].filter(Boolean).join(" · ");
  const typed = (event) => onText(event.target.value);
  return html`<div class="parameter">
    <${Field} id=${id} label=${`${of.name}${of.required ? " *" : ""}`} mistake=${mistake}
      hint=${swept ? `${hint} · a job for each: 1..100, 0..1:0.1, a,b,c` : hint}>${(props) =>
        swept ? html`<textarea rows="2" ...${props} value=${text} spellcheck=${false} onInput=${typed}></textarea>`
          : of.choices.length || of.type === "boolean" ? html`<select ...${props} value=${text} onChange=${typed}>
            <option value="">${of.required ? "choose" : standard}</option>
            ${(of.choices.length ? of.choices : ["true", "false"]).map((each) => html`<option key=${each} value=${String(each)}>${String(each)}</option>`)}
          </select>`
          : html`<input ...${props} value=${text} spellcheck=${false} onInput=${typed} autocomplete="off"
            inputmode=${of.type === "string" ? undefined : "decimal"} placeholder=${of.default === null ? "" : String(of.default)} />`}<//>
    <label class="check"><input type="checkbox" checked=${swept} onChange=${(event) => onSwept(event.target.checked)} />
      vary<span class="unseen"> ${of.name}</span></label>
  </div>`;
}

// One of several, "*" meaning any; nothing where there is no choice.
function Choice({ name, label, offered, form, wrong, onChange }) {
  if (!offered.length) return null;
  const typed = (event) => onChange({ [name]: event.target.value });
  return html`<${Field} id=${name} label=${label} hint="" mistake=${wrong[`/slurm/${name}`]}>${(props) =>
    offered.includes("*") ? html`<input ...${props} value=${form[name]} onInput=${typed} />`
      : html`<select ...${props} value=${form[name]} onChange=${typed}><option value="">the tool's own</option>
        ${offered.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select>`}<//>`;
}

export function Figure({ name, where, label, hint, mode = "numeric", form, wrong, onChange }) {
  return html`<${Field} id=${name} label=${label} hint=${hint} mistake=${wrong[where]}>${(props) => html`
    <input ...${props} inputmode=${mode} value=${form[name]} autocomplete="off"
      onInput=${(event) => onChange({ [name]: event.target.value.trim() })} />`}<//>`;
}

export function Resources({ tool, filesystems, form, wrong, onChange }) {
  const { hardware, slurm } = tool;
  const most = (value, unit = "") => (value === null || value === undefined ? "" : `at most ${number(value)}${unit}`);
  const props = { form, wrong, onChange };
  const chosen = (id, is) => onChange({ filesystems: is ? [...form.filesystems, id] : form.filesystems.filter((each) => each !== id) });
  return html`<fieldset><legend>The batch, and what each job gets</legend><div class="fields">
    <${Field} id="name" label="Name" hint="for people" mistake=${wrong["/name"]}>${(given) => html`
      <input ...${given} value=${form.name} maxlength="200" autocomplete="off" onInput=${(event) => onChange({ name: event.target.value })} />`}<//>
    <${Figure} name="cpu" where="/hardware/cpu" label="CPUs" hint=${most(hardware.max_cpu)} ...${props} />
    <${Figure} name="memory" where="/hardware/memory" label="Memory, MiB" hint=${most(hardware.max_memory)} ...${props} />
    <${Figure} name="time_limit" where="/slurm/time_limit" label="Time limit, minutes" ...${props}
      hint=${[slurm.default.time_limit && `${number(slurm.default.time_limit)} if left empty`, most(slurm.max_time_limit)].filter(Boolean).join(", ")} />
    ${slurm.max_gpus > 0 && html`<${Figure} name="gpus" where="/slurm/gpus" label="GPUs" hint=${most(slurm.max_gpus)} ...${props} />`}
    <${Choice} name="partition" label="Partition" offered=${slurm.partitions} ...${props} />
    <${Choice} name="account" label="Account" offered=${slurm.accounts} ...${props} />
    <${Choice} name="qos" label="QOS" offered=${slurm.qos} ...${props} />
  </div>
  ${filesystems.length > 0 && html`<fieldset><legend>Filesystems</legend>
    ${filesystems.map((each) => html`<label key=${each.id} class="check"><input type="checkbox"
      checked=${form.filesystems.includes(each.id)} onChange=${(event) => chosen(each.id, event.target.checked)} />
      ${each.id} <span class="quiet">${each.description}</span></label>`)}
    ${wrong["/hardware/filesystems"] && html`<p class="trouble">${wrong["/hardware/filesystems"]}</p>`}
  </fieldset>`}
  </fieldset>`;
}
