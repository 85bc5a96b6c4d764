// A cell for each job, coloured by its status. Written pixel by pixel, so that 100,000 cells cost
// some milliseconds however they are mixed.
import { FAILED, NAMES, colours } from "./statuses.js";
import { Picture, pixel } from "./canvas.js";
import { count, duration, number } from "./format.js";
import { html } from "./html.js";

const TALLEST = 420;
const LARGEST = 22;

// How the cells lie: their size with the gap behind, and how many stand in a row.
export function layout(n, width) {
  const fits = Math.floor(Math.sqrt((width * TALLEST) / Math.max(1, n)));
  const size = Math.min(LARGEST, Math.max(2, fits));
  const fit = Math.max(1, Math.floor(width / size));
  const columns = fit < 10 ? fit : fit - (fit % 10);  // so that one can count
  return { size, columns, gap: size >= 12 ? 2 : size >= 4 ? 1 : 0, rows: Math.ceil(n / columns) };
}

export function Grid({ brief, only, onOpen }) {
  const { statuses, n_jobs: n } = brief;
  const wanted = NAMES.indexOf(only);
  const label = `${count(n, "job")} as a grid. The arrow keys move from job to job, Enter opens one.`;
  return html`<${Picture} label=${label} version=${`${brief.version} ${only}`}
    height=${(width) => { const { rows, size } = layout(n, width); return rows * size; }}
    draw=${(context, width, height, ratio) => draw(context, width, height, ratio, statuses, wanted)}
    at=${(x, y, width) => {
      const { size, columns } = layout(n, width);
      const [column, row] = [Math.floor(x / size), Math.floor(y / size)];
      const index = row * columns + column;
      return column >= 0 && column < columns && row >= 0 && index < n ? index : null;
    }}
    place=${(index, width) => {
      const { size, columns, gap } = layout(n, width);
      return { left: (index % columns) * size, top: Math.floor(index / columns) * size,
        width: size - gap, height: size - gap };
    }}
    move=${(index, key, width) => step(index, key, n, layout(n, width).columns)}
    say=${(index) => tell(brief, index)} onOpen=${onOpen} />`;
}

// Where a key leads from a cell; undefined for keys that lead nowhere.
export function step(index, key, n, columns) {
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns,
    PageUp: -10 * columns, PageDown: 10 * columns, Home: -n, End: n }[key];
  if (by === undefined) return undefined;
  return index === null ? 0 : Math.min(n - 1, Math.max(0, index + by));
}

export function tell(brief, index) {
  const [began, ended] = [brief.started[index], brief.stopped[index]];
  const ran = began >= 0 && ended >= began ? `, ran for ${duration(ended - began)}` : "";
  return `Job ${number(index)}: ${NAMES[brief.statuses[index]]}${ran}`;
}

function draw(context, width, height, ratio, statuses, wanted) {
  const theme = colours();
  const back = pixel(context, theme.back);
  const line = pixel(context, theme.line);
  const fill = theme.statuses.map((each, status) =>
    wanted < 0 || status === wanted ? pixel(context, each) : line);
  const image = context.createImageData(width * ratio, height * ratio);
  const pixels = new Uint32Array(image.data.buffer).fill(back);
  const { size, columns, gap } = layout(statuses.length, width);
  const [step, side, across] = [size * ratio, (size - gap) * ratio, width * ratio];
  for (let index = 0; index < statuses.length; index++) {
    const status = statuses.charCodeAt(index) - 48;
    const left = (index % columns) * step;
    const top = Math.floor(index / columns) * step;
    for (let y = top; y < top + side; y++) {
      pixels.fill(fill[status], y * across + left, y * across + left + side);
    }
    // Not by colour alone: a failed job has a stroke through it where there is room for one.
    if (status === FAILED && size >= 5) cross(pixels, across, left, top, side, ratio, back);
  }
  context.putImageData(image, 0, 0);
}

function cross(pixels, across, left, top, side, thick, colour) {
  for (let at = thick; at < side - thick; at++) {
    const from = (top + at) * across + left + side - 1 - at;
    pixels.fill(colour, from, from + thick);
  }
}
