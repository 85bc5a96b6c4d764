// From what stands in the form to the arguments of each job; written as for `slurmbatch submit`:
// 1..100, 0..1:0.1, a,b,c, or several of these with commas; quotes keep a comma inside of a value.
export const MOST = 1_000_000;
const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i;
const RANGE = /^(\S+?)\.\.([^\s:]+)(?::(\S+))?$/;

export class Mistake extends Error {}

// The texts between commas, without the quotes around them; new lines separate, too.
export function split(text) {
  const found = [];
  let part = "", quoted = false, wasQuoted = false;
  const end = () => {
    if (wasQuoted || part.trim()) found.push({ text: wasQuoted ? part : part.trim(), quoted: wasQuoted });
    [part, wasQuoted] = ["", false];
  };
  for (let at = 0; at < text.length; at++) {
    const letter = text[at];
    if (quoted && letter === '"' && text[at + 1] === '"') part += text[++at];
    else if (letter === '"' && (quoted || !part.trim())) {
      if (!quoted) [part, wasQuoted] = ["", true];
      quoted = !quoted;
    } else if (!quoted && (letter === "," || letter === "\n")) end();
    else if (quoted || !wasQuoted || letter.trim()) part += letter;
  }
  if (quoted) throw new Mistake("A quote is not closed.");
  end();
  return found;
}

function decimals(text) {
  const [digits, power = "0"] = text.toLowerCase().split("e");
  return Math.max(0, (digits.split(".")[1] ?? "").length - Number(power));
}

// Both ends are in it. Whole steps are counted, so that 0..1:0.1 has no 0.30000000000000004.
function range(from, to, by = "1") {
  if (![from, to, by].every((each) => NUMBER.test(each))) throw new Mistake(`${from}..${to}: expected numbers.`);
  const digits = Math.max(decimals(from), decimals(to), decimals(by));
  const [first, last, step] = [Number(from), Number(to), Math.abs(Number(by))];
  if (!(step > 0)) throw new Mistake("A range needs a step that is more than 0.");
  const n = Math.floor(Math.abs(last - first) / step + 1e-9) + 1;
  if (n > MOST) throw new Mistake(`${from}..${to} has more than ${MOST} values.`);
  const sign = last < first ? -1 : 1;
  return Array.from({ length: n }, (_, at) => Number((first + sign * at * step).toFixed(Math.min(digits, 20))));
}

// What of it is filled in.
export function given(of) {
  return Object.fromEntries(Object.entries(of).filter(([, each]) => each !== undefined && each !== ""));
}

// One value, as its parameter has it.
export function value(parameter, text) {
  if (parameter.type === "string") return text;
  if (parameter.type === "boolean") {
    if (/^(true|false)$/i.test(text)) return text.toLowerCase() === "true";
    throw new Mistake(`Expected true or false, not "${text}".`);
  }
  const number = Number(text);
  if (!NUMBER.test(text.trim()) || !Number.isFinite(number)) throw new Mistake(`Expected a number, not "${text}".`);
  if (parameter.type === "integer" && !Number.isSafeInteger(number)) throw new Mistake(`Expected a whole number, not "${text}".`);
  return number;
}

export function values(parameter, text) {
  const numeric = parameter.type === "integer" || parameter.type === "number";
  const found = split(text).flatMap((part) => {
    const [, from, to, by] = (numeric && !part.quoted && RANGE.exec(part.text)) || [];
    return (from === undefined ? [part.text] : range(from, to, by)).map((each) => value(parameter, String(each)));
  });
  if (!found.length) throw new Mistake("Expected at least one value.");
  return found;
}

// All combinations, the last parameter changing fastest; none is one job.
export function product(axes) {
  const names = Object.keys(axes);
  const n = names.reduce((size, name) => size * axes[name].length, 1);
  if (n > MOST) throw new Mistake(`These are ${n} combinations; at most ${MOST} can be made here.`);
  let rows = [{}];
  for (const name of names) rows = rows.flatMap((row) => axes[name].map((each) => ({ ...row, [name]: each })));
  return names.length ? rows : [];
}
