// Markup in plain JavaScript, without a build step. Whatever is put into it becomes a text node or
// an attribute, never markup.
import htm from "./htm.js";
import { h } from "./preact.js";

export const html = htm.bind(h);
