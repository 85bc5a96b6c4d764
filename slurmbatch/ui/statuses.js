// The seven statuses, in their order: what they are called, and what they mean.
export const STATUSES = [
  { name: "SUBMITTED", about: "accepted and safe; not yet looked at by Slurm" },
  { name: "PENDING", about: "waits for something other than room" },
  { name: "RUNNABLE", about: "waits for its turn, or for room" },
  { name: "STARTING", about: "its nodes are made ready" },
  { name: "RUNNING", about: "runs" },
  { name: "SUCCEEDED", about: "ended with exit code 0" },
  { name: "FAILED", about: "ended in any other way" },
];
export const NAMES = STATUSES.map((each) => each.name);
export const RUNNING = NAMES.indexOf("RUNNING");
export const SUCCEEDED = NAMES.indexOf("SUCCEEDED");
export const FAILED = NAMES.indexOf("FAILED");

// The colours are those of the style sheet, so that canvases follow its themes.
export function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    statuses: NAMES.map((name) => of(name.toLowerCase())),
    back: of("ground"),
    text: of("text"),
    quiet: of("quiet"),
    line: of("line"),
    accent: of("accent"),
  };
}

// Calls back whenever the theme of the system changes; gives what ends that.
export function onTheme(callback) {
  const query = matchMedia("(prefers-color-scheme: dark)");
  query.addEventListener("change", callback);
  return () => query.removeEventListener("change", callback);
}

export function open(counts) {
  return NAMES.slice(0, SUCCEEDED).reduce((sum, name) => sum + counts[name], 0);
}

export function inWords(counts) {
  const said = NAMES.filter((name) => counts[name]).map((name) => `${counts[name]} ${name}`);
  return said.join(", ") || "no jobs";
}
