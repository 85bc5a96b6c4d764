// Numbers and times for people, in their own language's way where that matters.
const NUMBER = new Intl.NumberFormat();
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const STEPS = [[86400, "d"], [3600, "h"], [60, "min"]];

export const number = (value) => NUMBER.format(value);

export function count(n, one, many = `${one}s`) {
  return `${number(n)} ${n === 1 ? one : many}`;
}

export function moment(text) {
  return text ? DATE.format(new Date(text)) : "–";
}

export function clock(seconds) {
  return TIME.format(new Date(seconds * 1000));
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 60) return `${seconds < 10 && seconds % 1 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const at = STEPS.findIndex(([size]) => seconds >= size);
  const [size, unit] = STEPS[at];
  const whole = Math.floor(seconds / size);
  const [below, name] = STEPS[at + 1] ?? [1, "s"];
  const rest = Math.floor((seconds % size) / below);
  return rest ? `${whole} ${unit} ${rest} ${name}` : `${whole} ${unit}`;
}

export function ago(text, now = Date.now()) {
  return text ? `${duration(Math.max(0, (now - Date.parse(text)) / 1000))} ago` : "";
}

export function memory(mebibytes) {
  if (mebibytes === null || mebibytes === undefined) return "–";
  if (mebibytes >= 1024) return `${Number((mebibytes / 1024).toPrecision(3))} GiB`;
  return `${Number(mebibytes.toPrecision(3))} MiB`;
}

export function size(bytes) {
  return bytes < 10240 ? count(bytes, "byte") : `${number(Math.round(bytes / 1024))} KiB`;
}
