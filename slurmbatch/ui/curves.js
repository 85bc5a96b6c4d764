// How many jobs have ended, failed and run over time, and when all of them may have ended.
import { clock, count, moment, number } from "./format.js";
import { colours, onTheme } from "./statuses.js";
import { html } from "./html.js";
import { until } from "./timeline.js";
import { useEffect, useRef } from "./preact-hooks.js";

const POINTS = 1000;
const HEIGHT = 320;

// [times, ended, failed, running], each with a value for at most so many points of time.
export function series(brief, now) {
  const begin = Date.parse(brief.created_at) / 1000;
  const last = until(brief, now);
  const points = Math.max(2, Math.min(POINTS, Math.ceil(last) + 1));
  const slot = (seconds) => Math.min(points - 1, Math.ceil((seconds / last) * (points - 1)));
  const [ended, failed, running] = [0, 1, 2].map(() => new Array(points).fill(0));
  for (let index = 0; index < brief.n_jobs; index++) {
    const [from, to] = [brief.started[index], brief.stopped[index]];
    const isFailed = brief.statuses[index] === "6";
    const isEnded = isFailed || brief.statuses[index] === "5";
    if (from >= 0) running[slot(from)] += 1;
    if (isEnded) {
      const at = slot(to < 0 ? last : to);
      ended[at] += 1;
      if (isFailed) failed[at] += 1;
      if (from >= 0) running[at] -= 1;
    }
  }
  for (const each of [ended, failed, running]) {
    for (let at = 1; at < points; at++) each[at] += each[at - 1];
  }
  const times = ended.map((_, at) => begin + (last * at) / (points - 1));
  return [times, ended, failed, running];
}

// With a line from what has ended now to all jobs at the expected end.
export function expected([times, ...curves], nJobs, end) {
  if (!end) return [times, ...curves];
  const guess = times.map(() => null);
  guess[guess.length - 1] = curves[0].at(-1);
  return [[...times, end], ...curves.map((each) => [...each, null]), [...guess, nJobs]];
}

export function Curves({ brief, batch }) {
  const end = Date.parse(batch.expected_end) / 1000;
  const isAhead = end > Date.now() / 1000;
  const data = expected(series(brief, Date.now() / 1000), brief.n_jobs, isAhead ? end : 0);
  return html`<figure class="curves">
    <${Plotted} key=${isAhead} data=${data} isAhead=${isAhead} />
    <figcaption>${words(data, brief, isAhead && batch.expected_end)}</figcaption>
  </figure>`;
}

function Plotted({ data, isAhead }) {
  const place = useRef();
  const plot = useRef(null);
  const shown = useRef(data);
  shown.current = data;
  useEffect(() => {
    let gone = false;
    let unTheme = () => {};
    import("./uplot.js").then(({ default: Plot }) => {
      if (gone) return;
      const make = () => {
        plot.current?.destroy();
        plot.current = new Plot(options(place.current.clientWidth, isAhead), shown.current, place.current);
      };
      make();
      unTheme = onTheme(make);
    });
    const watch = new ResizeObserver(([entry]) =>
      plot.current?.setSize({ width: Math.floor(entry.contentRect.width), height: HEIGHT }));
    watch.observe(place.current);
    return () => {
      gone = true;
      unTheme();
      watch.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, []);
  const ends = data[1].join();
  useEffect(() => { plot.current?.setData(shown.current); }, [ends, data[0].length]);
  return html`<div ref=${place} class="plot"></div>`;
}

function words([, ended, failed], brief, end) {
  const last = ended.findLast((each) => each !== null);
  const bad = failed.findLast((each) => each !== null);
  const ahead = end ? ` All of them may have ended by ${moment(end)}.` : "";
  return `${number(last)} of ${count(brief.n_jobs, "job")} have ended, ${number(bad)} of them failed.${ahead}`;
}

function options(width, isAhead) {
  const theme = colours();
  const axis = { stroke: theme.quiet, grid: { stroke: theme.line, width: 1 }, ticks: { stroke: theme.line } };
  const line = (label, stroke, more = {}) => ({ label, stroke, width: 2, points: { show: false }, ...more });
  const whole = (_plot, values) => values.map((each) => (Number.isInteger(each) ? number(each) : ""));
  const [running, succeeded, failed] = [4, 5, 6].map((status) => theme.statuses[status]);
  return {
    width, height: HEIGHT, legend: { show: true, live: false }, cursor: { show: false },
    scales: { y: { range: (_plot, _least, most) => [0, Math.max(1, most * 1.05)] } },
    axes: [{ ...axis, space: 110, values: (_plot, times) => times.map(clock) }, { ...axis, values: whole, size: 60 }],
    series: [
      {},
      line("ended", succeeded),
      line("failed", failed, { dash: [8, 3] }),
      line("running", running, { dash: [2, 3] }),
      ...(isAhead ? [line("expected", theme.quiet, { dash: [4, 6], width: 1.5, spanGaps: true })] : []),
    ],
  };
}
