// What is shown, kept up to date: one conditional GET per view and interval, none while the tab is
// hidden, and ever fewer where answers take long or don't come.
import { get } from "./api.js";
import { useCallback, useEffect, useRef, useState } from "./preact-hooks.js";

export const EVERY = 2000;
const IDLE = 15000;
const AFTER_TROUBLE = 5000;
const SLOWEST = 30000;

// Resolves after so many milliseconds in which somebody has been able to see the page.
export function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const due = performance.now() + milliseconds;
    let timer;
    const done = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    const look = () => {
      clearTimeout(timer);
      if (!document.hidden) timer = setTimeout(done, Math.max(0, due - performance.now()));
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", done, { once: true });
    look();
  });
}

// `where`: what to get; null for nothing. `isDone` tells that a value will hardly change any more.
// Gives the value, the trouble of the last look if there was any, whether there is more of it than
// was asked for, and what looks at once.
export function useLive(where, { isDone = () => false, every = EVERY } = {}) {
  const [state, setState] = useState({ where });
  const wake = useRef(() => {});
  const done = useRef(isDone);
  done.current = isDone;
  useEffect(() => {
    if (where === null) return undefined;
    const ends = new AbortController();
    setState((before) => (before.where === where ? before : { where }));
    follow(where, ends.signal, setState, wake, (value) => (done.current(value) ? IDLE : every));
    return () => ends.abort();
  }, [where, every]);
  const refresh = useCallback(() => wake.current(), []);
  const current = state.where === where ? state : {};
  return { ...current, refresh };
}

async function follow(where, signal, setState, wake, interval) {
  let known, value;
  while (!signal.aborted) {
    if (document.hidden && known !== undefined) await pause(0, signal);
    const began = performance.now();
    let wait;
    try {
      const answer = await get(where, { known, signal });
      if (answer.status !== 304) {
        known = answer.etag ?? undefined;
        value = answer.value;
        setState({ where, value, more: answer.more });
      } else {
        setState((before) => (before.trouble ? { ...before, trouble: undefined } : before));
      }
      wait = Math.max(interval(value), Math.min(SLOWEST, 10 * (performance.now() - began)));
    } catch (trouble) {
      if (signal.aborted || trouble.status === 401) return;
      setState((before) => ({ ...before, where, trouble }));
      wait = trouble.status === 404 ? IDLE : Math.max(AFTER_TROUBLE, 1000 * trouble.retryAfter);
    }
    const cut = new AbortController();
    wake.current = () => cut.abort();
    await pause(wait, AbortSignal.any([signal, cut.signal]));
  }
}
