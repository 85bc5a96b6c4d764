// What a job prints, as it comes: the end of what is there, and then what follows, over one
// connection that is let go while nobody can see it.
import { fetched, path } from "./api.js";
import { html } from "./html.js";
import { pause } from "./live.js";
import { size } from "./format.js";
import { useEffect, useLayoutEffect, useRef, useState } from "./preact-hooks.js";

const FIRST = 64 * 1024;
const MOST = 512 * 1024;
const AGAIN = 3000;

// Without what sets colours and moves cursors on a terminal.
export function plain(text) {
  // eslint-disable-next-line no-control-regex
  return text.replace(/\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][0-9A-B]|\r(?=\n)/g, "");
}

export function Log({ batchId, jobId, attempt, isOver }) {
  const [state, setState] = useState({ text: "", from: 0 });
  const box = useRef();
  const stuck = useRef(true);
  const over = useRef(isOver);
  over.current = isOver;
  useEffect(() => {
    const ends = new AbortController();
    setState({ text: "", from: 0 });
    const where = `${path("batches", batchId, "jobs", jobId, "log")}?${attempt ? `attempt=${attempt}&` : ""}`;
    read(where, over, ends.signal, setState);
    return () => ends.abort();
  }, [batchId, jobId, attempt]);
  useLayoutEffect(() => {
    if (stuck.current) box.current.scrollTop = box.current.scrollHeight;
  }, [state.text]);
  const scrolled = () => {
    const { scrollTop, scrollHeight, clientHeight } = box.current;
    stuck.current = scrollHeight - scrollTop - clientHeight < 24;
  };
  return html`
    ${state.from > 0 && html`<p class="quiet">The first ${size(state.from)} are not shown.</p>`}
    <pre class="log" tabindex="0" role="region" aria-label="Log" ref=${box} onScroll=${scrolled}>${
      state.text || (state.trouble ? "" : "(nothing printed yet)")}</pre>
    <p class="quiet" role="status">${state.trouble ?? (state.live ? "Follows what it prints." : "")}</p>`;
}

async function read(where, over, signal, setState) {
  let next = null;
  const take = (bytes) => {
    next += bytes.byteLength;
    return bytes;
  };
  while (!signal.aborted) {
    const cut = new AbortController();
    const hide = () => document.hidden && cut.abort();
    document.addEventListener("visibilitychange", hide);
    try {
      const both = AbortSignal.any([signal, cut.signal]);
      if (next === null) next = await begin(where, both, setState);
      const decoder = new TextDecoder();
      const answer = await fetched("GET", `${where}follow=1`, { headers: { Range: `bytes=${next}-` }, signal: both });
      setState((before) => ({ ...before, live: true, trouble: undefined }));
      for await (const bytes of pieces(answer.body)) add(setState, decoder.decode(take(bytes), { stream: true }));
      setState((before) => ({ ...before, live: false }));
      return;  // the job has ended
    } catch (trouble) {
      if (signal.aborted || trouble.status === 401) return;
      if (trouble.status === 416) next = null;  // the log has become shorter
      const said = cut.signal.aborted ? undefined : trouble.status ? trouble.message : undefined;
      setState((before) => ({ ...before, live: false, trouble: said }));
      if (trouble.status >= 400 && trouble.status < 500 && trouble.status !== 416) return;
    } finally {
      document.removeEventListener("visibilitychange", hide);
    }
    await pause(AGAIN, signal);
  }
}

// The end of what is there; gives where it ends.
async function begin(where, signal, setState) {
  const answer = await fetched("GET", where, { headers: { Range: `bytes=-${FIRST}` }, signal });
  const bytes = await answer.arrayBuffer();
  const [, first, last] = /bytes (\d+)-(\d+)\//.exec(answer.headers.get("Content-Range") ?? "") ?? [0, 0, bytes.byteLength - 1];
  setState({ text: plain(new TextDecoder().decode(bytes)), from: Number(first) });
  return Number(last) + 1;
}

async function* pieces(body) {
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

function add(setState, text) {
  setState((before) => {
    const all = before.text + plain(text);
    const cut = Math.max(0, all.length - MOST);
    return { ...before, text: all.slice(cut), from: before.from + cut };
  });
}
