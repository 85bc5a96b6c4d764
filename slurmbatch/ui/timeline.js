// When each job waited and ran: a line for each, time from left to right.
import { NAMES, RUNNING, colours } from "./statuses.js";
import { clock, count } from "./format.js";
import { Picture } from "./canvas.js";
import { html } from "./html.js";
import { tell } from "./grid.js";
import { useMemo } from "./preact-hooks.js";

const AXIS = 22;
const LEAST = 4;
const TALLEST = 420;
// Of many jobs not each is drawn, but so many of each line of pixels.
const A_LINE = 4;
const LATER = 2 ** 32;

// The jobs in the order in which they were started; those that wait come last.
export function order({ n_jobs: n, started }) {
  // As numbers that sort by themselves: a function to compare them takes ten times as long.
  const ranks = Float64Array.from(started, (at, index) => (at < 0 ? LATER : at) * n + index);
  return Uint32Array.from(ranks.sort(), (rank) => rank % n);
}

// Where each job stands in that order.
function places(sorted) {
  const found = new Uint32Array(sorted.length);
  sorted.forEach((index, row) => { found[index] = row; });
  return found;
}

// Up to when there is something to be shown, in seconds after the batch was made.
export function until(brief, now) {
  const isOpen = /[0-4]/.test(brief.statuses);
  const last = brief.stopped.reduce((most, each) => Math.max(most, each), 1);
  return isOpen ? Math.max(last, now - Date.parse(brief.created_at) / 1000) : last;
}

export function Timeline({ brief, only, onOpen }) {
  const n = brief.n_jobs;
  const [sorted, place] = useMemo(() => {
    const made = order(brief);
    return [made, places(made)];
  }, [brief]);
  const tall = Math.min(TALLEST, Math.max(40, n * 12));
  const row = (y) => Math.floor((y / tall) * n);
  const end = until(brief, Date.now() / 1000);
  return html`<${Picture} version=${`${brief.version} ${only}`}
    label=${`${count(n, "job")} over time. The arrow keys move from job to job, Enter opens one.`}
    height=${() => tall + AXIS}
    draw=${(context, width) => draw(context, width, tall, brief, sorted, NAMES.indexOf(only), end)}
    at=${(x, y) => (y < 0 || y >= tall ? null : sorted[row(y)] ?? null)}
    place=${(index, width) => ({ left: 0, top: (place[index] / n) * tall, width, height: Math.max(1, tall / n - 1) })}
    move=${(index, key) => {
      const by = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -n, End: n }[key];
      if (by === undefined) return undefined;
      return index === null ? sorted[0] : sorted[Math.min(n - 1, Math.max(0, place[index] + by))];
    }}
    say=${(index) => tell(brief, index)} onOpen=${onOpen} />`;
}

function draw(context, width, tall, brief, sorted, wanted, end) {
  const theme = colours();
  const scale = width / end;
  const thick = Math.max(1, tall / sorted.length - (tall / sorted.length > LEAST ? 1 : 0));
  context.fillStyle = theme.back;
  context.fillRect(0, 0, width, tall + AXIS);
  const step = Math.max(1, Math.floor(sorted.length / (A_LINE * tall)));
  for (let row = 0; row < sorted.length; row += step) {
    const index = sorted[row];
    const status = brief.statuses.charCodeAt(index) - 48;
    const [began, ended] = [brief.started[index], brief.stopped[index]];
    const y = (row / sorted.length) * tall;
    const from = began < 0 ? (ended < 0 ? end : ended) : began;
    const faint = wanted >= 0 && status !== wanted;
    context.fillStyle = theme.line;
    context.fillRect(0, y, from * scale, thick);
    if (began < 0) continue;
    const to = ended < 0 || status <= RUNNING ? end : ended;
    context.fillStyle = faint ? theme.line : theme.statuses[status];
    context.fillRect(from * scale, y, Math.max(1, (to - from) * scale), thick);
  }
  axis(context, width, tall, Date.parse(brief.created_at) / 1000, end, theme);
}

function axis(context, width, tall, begin, end, theme) {
  context.fillStyle = theme.quiet;
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "top";
  const ticks = Math.max(2, Math.min(8, Math.floor(width / 130)));
  for (let tick = 0; tick <= ticks; tick++) {
    const x = (width * tick) / ticks;
    context.textAlign = tick === 0 ? "left" : tick === ticks ? "right" : "center";
    context.fillText(clock(begin + (end * tick) / ticks), x, tall + 6);
  }
}
