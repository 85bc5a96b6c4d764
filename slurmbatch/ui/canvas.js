// A canvas as wide as there is room, sharp on every screen, drawn anew when that or the theme
// changes; and a cursor over its things, for mouse and keyboard alike.
import { html } from "./html.js";
import { onTheme } from "./statuses.js";
import { useEffect, useLayoutEffect, useRef, useState } from "./preact-hooks.js";

// `height(width)` and `draw(context, width, height)`, in CSS pixels, of which each has `ratio`
// pixels of the screen. `at(x, y, width)` gives the index of what lies there; `place(index, width)`
// its rectangle; `move(index, key, width)` where a key leads from there.
export function Picture({ label, height, draw, at, place, move, say, onOpen, version }) {
  const canvas = useRef();
  const [width, setWidth] = useState(0);
  const [theme, setTheme] = useState(0);
  const [cursor, setCursor] = useState(null);
  const tall = width ? height(width) : 0;
  useEffect(() => onTheme(() => setTheme((n) => n + 1)), []);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.floor(entry.contentRect.width)));
    watch.observe(canvas.current.parentElement);
    return () => watch.disconnect();
  }, []);
  useLayoutEffect(() => {
    if (!width) return;
    const ratio = Math.max(1, Math.round(devicePixelRatio || 1));
    const node = canvas.current;
    if (node.width !== width * ratio || node.height !== tall * ratio) {
      node.width = width * ratio;
      node.height = tall * ratio;
    }
    const context = node.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    draw(context, width, tall, ratio);
  }, [width, tall, theme, version]);
  const pointed = (event) => {
    const box = canvas.current.getBoundingClientRect();
    return at(event.clientX - box.left, event.clientY - box.top, width);
  };
  const keyed = (event) => {
    if (event.key === "Enter" && cursor !== null) return onOpen(cursor);
    if (event.key === "Escape") return setCursor(null);
    const next = move(cursor, event.key, width);
    if (next === undefined) return undefined;
    event.preventDefault();
    return setCursor(next);
  };
  const box = cursor !== null && width ? place(cursor, width) : null;
  return html`<div class="picture">
    <canvas ref=${canvas} tabindex="0" role="application" aria-label=${label}
      style=${{ width: `${width}px`, height: `${tall}px` }}
      onPointerMove=${(event) => setCursor(pointed(event))} onPointerLeave=${() => setCursor(null)}
      onBlur=${() => setCursor(null)} onKeyDown=${keyed}
      onClick=${(event) => { const index = pointed(event); if (index !== null) onOpen(index); }}></canvas>
    ${box && html`<div class="cursor" style=${px(box)}></div>
      <div class="tip" style=${px(beside(box, width))}>${say(cursor)}</div>`}
    <p class="unseen" aria-live="polite">${cursor === null ? "" : say(cursor)}</p>
  </div>`;
}

function beside(box, width) {
  const below = { top: box.top + box.height + 6 };
  return box.left < width / 2 ? { left: box.left, ...below } : { right: width - box.left - box.width, ...below };
}

function px(box) {
  return Object.fromEntries(Object.entries(box).map(([name, value]) => [name, `${value}px`]));
}

// What a colour of the style sheet is as a pixel of an ImageData's Uint32Array.
export function pixel(context, colour) {
  context.fillStyle = colour;
  const hex = Number.parseInt(context.fillStyle.slice(1), 16);
  const [r, g, b] = [hex >> 16, (hex >> 8) & 255, hex & 255];
  const bytes = new Uint8ClampedArray([r, g, b, 255]);
  return new Uint32Array(bytes.buffer)[0];
}
