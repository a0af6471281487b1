// Completion in the filter box: fields and values seen in results, operators and functions. Follows the ARIA pattern
// of an editable combobox with a list.
import {element} from "./dom.js";

const OPERATORS = ["=", "!=", "<", "<=", ">", ">=", ":", "in ("];
const JOINS = ["AND", "OR", "AND NOT"];
const FUNCTIONS = ["has(", "starts_with(", "geo_within(", "geo_box(", "NOT "];
const MAX_VALUES = 200;  // remembered of one field
const MAX_OPTIONS = 12;

const plainWord = /^[\p{L}_][\p{L}\p{N}_-]*$/u;

export const fieldName = (name) => (plainWord.test(name) ? name : `\`${name}\``);

// A value as a filter writes it, or null for one that no comparison takes.
export function literal(value) {
  if (typeof value === "string") {
    const escaped = JSON.stringify(value).replaceAll("*", "\\*");
    return escaped;
  }
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return value === null ? "null" : null;
}

// Fields and values that metadata of results had.
export class FieldKnowledge {
  #fields = new Map();  // path -> {list: boolean, values: Set of literals}

  learn(metadata, prefix = "", depth = 0) {
    for (const [key, value] of Object.entries(metadata || {})) {
      const path = prefix + fieldName(key);
      const field = this.#fields.get(path) || {list: false, values: new Set()};
      this.#fields.set(path, field);
      if (Array.isArray(value)) {
        field.list = true;
        for (const item of value) this.#learnValue(field, item);
      } else if (value !== null && typeof value === "object") {
        if (depth < 4) this.learn(value, `${path}.`, depth + 1);
      } else {
        this.#learnValue(field, value);
      }
    }
  }

  #learnValue(field, value) {
    const text = literal(value);
    if (text !== null && text.length <= 80 && field.values.size < MAX_VALUES) field.values.add(text);
  }

  names() {
    return [...this.#fields.keys(), "id"].sort();
  }
  values(path) {
    return [...(this.#fields.get(path)?.values || [])].sort();
  }
  isList(path) {
    return this.#fields.get(path)?.list || false;
  }
}

// What may follow `before`, the text left of the caret: {start: where the word to complete begins, options}.
export function complete(before, knowledge) {
  const value = /([^\s()=!<>:,]+)\s*(=|!=|<=|>=|<|>|:)\s*("(?:[^"\\]|\\.)*|[^\s"()]*)$/u.exec(before);
  if (value && (knowledge.values(value[1]).length > 0 || value[3] !== "")) {
    const typed = value[3].toLowerCase();
    return {
      start: before.length - value[3].length,
      options: knowledge.values(value[1]).filter((text) => text.toLowerCase().startsWith(typed) && text !== value[3]),
    };
  }
  const word = /[^\s()=!<>:,"]*$/u.exec(before)[0];
  const start = before.length - word.length;
  const lead = before.slice(0, start).trimEnd();
  const match = (options) => options.filter((text) => text.toLowerCase().startsWith(word.toLowerCase()) && text !== word);
  const expectsTerm = lead === "" || /(\(|\b(AND|OR|NOT))$/i.test(lead);
  if (expectsTerm) return {start, options: match([...knowledge.names(), ...FUNCTIONS])};
  const afterField = /(^|\(|\b(?:AND|OR|NOT)\s)\s*([^\s()=!<>:,"]+)$/iu.exec(lead);
  if (afterField) {
    const operators = knowledge.isList(afterField[2]) ? [":", ...OPERATORS.filter((op) => op !== ":")] : OPERATORS;
    return {start, options: match(operators)};
  }
  if (/(["\w\])*])$/.test(lead)) return {start, options: match(JOINS)};
  return {start, options: []};
}

export class FilterBox {
  #options = [];
  #active = -1;
  #start = 0;

  constructor(input, list, knowledge) {
    this.input = input;
    this.list = list;
    this.knowledge = knowledge;
    input.addEventListener("input", () => this.#open());
    input.addEventListener("focus", () => {
      if (input.value === "") this.#open();
    });
    input.addEventListener("blur", () => this.#close());
    input.addEventListener("keydown", (event) => this.#key(event));
  }

  // Puts the caret where the server found a mistake ("column N: ..."; N counts bytes from 1).
  showMistake(message) {
    const column = /column (\d+)/.exec(message);
    if (!column) return;
    const bytes = new TextEncoder().encode(this.input.value).slice(0, Number(column[1]) - 1);
    const at = new TextDecoder().decode(bytes).length;
    this.input.focus();
    this.input.setSelectionRange(at, Math.min(at + 1, this.input.value.length));
    this.#close();
  }

  #open() {
    const caret = this.input.selectionStart;
    const {start, options} = complete(this.input.value.slice(0, caret), this.knowledge);
    this.#start = start;
    this.#options = options.slice(0, MAX_OPTIONS);
    this.#active = -1;
    this.list.replaceChildren(...this.#options.map((text, i) => element("li", {
      role: "option", id: `filter-option-${i}`, "aria-selected": "false",
      // Before the input loses the focus.
      onmousedown: (event) => {
        event.preventDefault();
        this.#take(i);
      },
    }, text)));
    this.#show(this.#options.length > 0);
  }

  #show(open) {
    this.list.hidden = !open;
    this.input.setAttribute("aria-expanded", String(open));
    if (!open) this.input.removeAttribute("aria-activedescendant");
  }

  #close() {
    this.#options = [];
    this.#show(false);
  }

  #move(step) {
    const count = this.#options.length;
    this.#active = (this.#active + step + count + (this.#active < 0 && step < 0 ? 1 : 0)) % count;
    [...this.list.children].forEach((item, i) => item.setAttribute("aria-selected", String(i === this.#active)));
    this.list.children[this.#active].scrollIntoView({block: "nearest"});
    this.input.setAttribute("aria-activedescendant", `filter-option-${this.#active}`);
  }

  #take(i) {
    const caret = this.input.selectionStart;
    const text = this.#options[i] + (this.#options[i].endsWith("(") ? "" : " ");
    const before = this.input.value.slice(0, this.#start);
    this.input.value = before + text + this.input.value.slice(caret).trimStart();
    const at = before.length + text.length;
    this.input.setSelectionRange(at, at);
    this.#open();
  }

  #key(event) {
    if (event.key === "ArrowDown" && this.list.hidden) {
      this.#open();
      event.preventDefault();
      return;
    }
    if (this.list.hidden) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      this.#move(event.key === "ArrowDown" ? 1 : -1);
      event.preventDefault();
    } else if (event.key === "Enter" || event.key === "Tab") {
      if (this.#active >= 0) {
        this.#take(this.#active);
        event.preventDefault();
      } else {
        this.#close();
      }
    } else if (event.key === "Escape") {
      this.#close();
      event.preventDefault();
    }
  }
}
