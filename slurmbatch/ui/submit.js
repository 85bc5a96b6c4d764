// A new batch, from a form made of what its tool declares.
import { Loading, Trouble, useTitle } from "./parts.js";
import { Mistake, given, product, value, values } from "./sweep.js";
import { adjust, go } from "./router.js";
import { ask, get, path } from "./api.js";
import { count, memory, moment } from "./format.js";
import { Course, course, initialCourse } from "./course.js";
import { Parameter, Resources } from "./fields.js";
import { args } from "./jobs.js";
import { html } from "./html.js";
import { useEffect, useRef, useState } from "./preact-hooks.js";

const SHOWN = 5;

export function NewBatch({ query }) {
  useTitle("New batch");
  const [offer, setOffer] = useState({});
  useEffect(() => {
    const ends = new AbortController();
    const { signal } = ends;
    Promise.all([get("tools", { signal }), get("filesystems", { signal })]).then(
      ([tools, filesystems]) => setOffer({ tools: tools.value, filesystems: filesystems.value }),
      (trouble) => signal.aborted || setOffer({ trouble }),
    );
    return () => ends.abort();
  }, []);
  if (!offer.tools) return html`<h1>New batch</h1>${offer.trouble ? html`<${Trouble} problem=${offer.trouble} />` : html`<${Loading} what="the tools" />`}`;
  if (!offer.tools.length) return html`<h1>New batch</h1><p>There is no tool that you may run.</p>`;
  const tool = offer.tools.find((each) => each.id === query.tool) ?? offer.tools[0];
  return html`<h1>New batch</h1>
    <form class="filters" onSubmit=${(event) => event.preventDefault()}>
      <label>Tool <select value=${tool.id} onChange=${(event) => adjust({ tool: event.target.value })}>
        ${offer.tools.map(({ id }) => html`<option key=${id} value=${id}>${id}</option>`)}</select></label>
    </form>
    <p class="lead">${tool.description}</p>
    <${Form} key=${tool.id} tool=${tool} filesystems=${offer.filesystems} query=${query} />`;
}

function initial(tool, query) {
  return {
    args: Object.fromEntries(tool.parameters.map((each) => [each.name, ""])),
    swept: {}, name: "", filesystems: tool.hardware.filesystems,
    cpu: tool.hardware.cpu ?? 1, memory: tool.hardware.memory ?? 256,
    time_limit: "", partition: "", account: "", qos: "", gpus: "", ...initialCourse(query),
  };
}

// What the form says, as the body of a request; every mistake by the path of its field.
export function body(tool, form) {
  const mistakes = {}, fixed = {}, axes = {};
  const tried = (where, read) => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof Mistake)) throw error;
      mistakes[where] = error.message;
      return undefined;
    }
  };
  for (const parameter of tool.parameters) {
    const { name } = parameter;
    const text = form.args[name];
    if (form.swept[name]) axes[name] = tried(`/args/${name}`, () => values(parameter, text)) ?? [];
    else if (text !== "") fixed[name] = tried(`/args/${name}`, () => value(parameter, text));
    else if (parameter.required) mistakes[`/args/${name}`] = "A value is needed.";
  }
  const figure = (where, text, type = "integer") => (text === "" ? undefined : tried(where, () => value({ type }, String(text))));
  const rows = tried("", () => product(axes)) ?? [];
  const slurm = given({ partition: form.partition, account: form.account, qos: form.qos,
    time_limit: figure("/slurm/time_limit", form.time_limit), gpus: figure("/slurm/gpus", form.gpus) });
  const made = {
    tool_id: tool.id, name: form.name, fixed_args: fixed, variable_args: rows,
    hardware: given({ cpu: figure("/hardware/cpu", form.cpu), memory: figure("/hardware/memory", form.memory),
      filesystems: form.filesystems }),
    ...(Object.keys(slurm).length ? { slurm } : {}),
    ...course(form, tried, figure),
  };
  return { made, mistakes };
}

// The service's words by the fields of the form: one for all rows of a sweep, or batches to wait for.
function byField(problem) {
  const found = {};
  for (const { pointer, detail } of problem?.errors ?? []) {
    const where = pointer.replace(/^\/(fixed_args|variable_args\/\d+)\//, "/args/")
      .replace(/^\/(depends_on|notify)\/.*/, "/$1");
    found[where] ??= detail;
  }
  return found;
}

function Form({ tool, filesystems, query }) {
  const [form, setForm] = useState(() => initial(tool, query));
  const [state, setState] = useState({});
  // The same form sent again, because the answer was lost, makes the same batch, not another one.
  const key = useRef("");
  const change = (changes) => {
    key.current = "";
    setState({});
    setForm((before) => ({ ...before, ...changes }));
  };
  const { made, mistakes } = body(tool, form);
  const n = made.variable_args.length || 1;
  const wrong = { ...byField(state.problem), ...(state.tried ? mistakes : {}) };
  const send = async (dry) => {
    if (Object.keys(mistakes).length) return setState({ tried: true });
    setState({ busy: true });
    try {
      if (dry) return setState({ trial: (await ask("POST", "batches?dry_run=1", { body: made })).value });
      key.current ||= crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
      const { value: batch } = await ask("POST", "batches", { body: made, headers: { "Idempotency-Key": key.current } });
      return go(["batches", batch.batch_id]);
    } catch (problem) {
      return setState({ problem });
    }
  };
  return html`<form class="submit" novalidate onSubmit=${(event) => { event.preventDefault(); send(false); }}>
    <fieldset><legend>Arguments</legend>
      ${tool.parameters.length === 0 && html`<p class="quiet">It takes none.</p>`}
      ${tool.parameters.map((each) => html`<${Parameter} key=${each.name} of=${each} text=${form.args[each.name]}
        swept=${Boolean(form.swept[each.name])} mistake=${wrong[`/args/${each.name}`]}
        onText=${(text) => change({ args: { ...form.args, [each.name]: text } })}
        onSwept=${(is) => change({ swept: { ...form.swept, [each.name]: is } })} />`)}
    </fieldset>
    <${Resources} tool=${tool} filesystems=${filesystems} form=${form} wrong=${wrong} onChange=${change} />
    <${Course} tool=${tool} form=${form} wrong=${wrong} onChange=${change} />
    <${Preview} n=${n} rows=${made.variable_args} fixed=${made.fixed_args} mistakes=${mistakes} form=${form} />
    ${state.tried && Object.keys(mistakes).length > 0 && html`<div class="note bad" role="alert">
      ${count(Object.keys(mistakes).length, "field")} can't stay like this.</div>`}
    <${Trouble} problem=${state.problem} />
    ${state.trial && html`<${Trial} of=${state.trial} />`}
    <div class="actions">
      <button type="button" disabled=${state.busy} onClick=${() => send(true)}>Check only</button>
      <button class="main" disabled=${state.busy}>Submit ${count(n, "job")}</button>
    </div>
  </form>`;
}

function Preview({ n, rows, fixed, mistakes, form }) {
  if (Object.keys(mistakes).length) return html`<p class="quiet" role="status">${mistakes[""] ?? "How many jobs it will be is shown when all fields are filled in."}</p>`;
  const all = rows.length ? rows : [{}];
  const shown = all.length <= SHOWN + 1 ? all : [...all.slice(0, SHOWN), all.at(-1)];
  return html`<section class="preview" aria-label="Preview">
    <p role="status"><strong>${count(n, "job")}</strong>, each with ${count(Number(form.cpu), "CPU")} and ${memory(Number(form.memory))}:</p>
    <ol class="rows" start="0">${shown.map((row, at) => html`<li key=${at} value=${at && (at < SHOWN ? at : n - 1)}>
      <code>${args({ ...fixed, ...row }) || "no arguments"}</code></li>`)}</ol>
  </section>`;
}

function Trial({ of }) {
  return html`<div class="note good" role="status">Slurm would take it: ${count(of.n_jobs, "job")} in
    ${" "}${count(of.n_arrays, "array")}.${of.expected_start && ` The first might start ${moment(of.expected_start)}${of.expected_nodes ? ` on ${of.expected_nodes}` : ""}.`}
    ${of.reason && ` ${of.reason}`}</div>`;
}
