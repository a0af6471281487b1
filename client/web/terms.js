// The terms of the query beside the text box: texts, pictures and stored images, each with a weight.
import {element} from "./dom.js";
import {toBase64} from "./pictures.js";

const KINDS = {text: "Text", picture: "Picture", id: "Stored"};

export class Terms {
  // `list` is a <ul>; onChange is called after each change.
  constructor(list, onChange) {
    this.list = list;
    this.onChange = onChange;
    this.terms = [];
  }

  get size() {
    return this.terms.length;
  }

  addText(text) {
    this.#add({kind: "text", label: text, text, weight: 1});
  }

  // `file` is what is sent.
  addPicture(file, name = file.name) {
    this.#add({kind: "picture", label: name || "pasted picture", file, url: URL.createObjectURL(file), weight: 1});
  }

  // A stored image; the same id again only changes the weight.
  addStored(id, label, url, weight) {
    const known = this.terms.find((term) => term.kind === "id" && term.id === id);
    if (known) {
      known.weight = weight;
      this.#render();
      this.onChange();
    } else {
      this.#add({kind: "id", id, label, url, weight});
    }
  }

  clear() {
    for (const term of this.terms) if (term.kind === "picture") URL.revokeObjectURL(term.url);
    this.terms = [];
    this.#render();
  }

  labelOf(i) {
    return this.terms[i]?.label;
  }

  // As imagesearch.v1.Term.
  async toRequest() {
    return Promise.all(this.terms.map(async (term) => {
      const weight = term.weight;
      if (term.kind === "text") return {text: term.text, weight};
      if (term.kind === "id") return {id: term.id, weight};
      term.base64 ??= await toBase64(term.file);
      return {image: term.base64, weight};
    }));
  }

  #add(term) {
    this.terms.push(term);
    this.#render();
    this.onChange();
  }

  #remove(term) {
    if (term.kind === "picture") URL.revokeObjectURL(term.url);
    this.terms.splice(this.terms.indexOf(term), 1);
    this.#render();
    this.list.querySelector("button")?.focus();
    this.onChange();
  }

  #render() {
    this.list.replaceChildren(...this.terms.map((term) => this.#chip(term)));
  }

  #chip(term) {
    const item = element("li", {class: "term"});
    const setNegative = () => item.classList.toggle("negative", term.weight < 0);
    const sign = element("button", {
      type: "button", class: "sign", "aria-pressed": String(term.weight < 0),
      "aria-label": `Less like ${term.label}`, title: "More or less of this",
      onclick: () => {
        term.weight = -term.weight;
        sign.setAttribute("aria-pressed", String(term.weight < 0));
        sign.textContent = term.weight < 0 ? "less" : "more";
        setNegative();
        this.onChange();
      },
    }, term.weight < 0 ? "less" : "more");
    const weight = element("input", {
      type: "range", min: "0.1", max: "2", step: "0.1", value: String(Math.abs(term.weight)),
      "aria-label": `Weight of ${term.label}`,
    });
    const shownWeight = element("output", {}, Math.abs(term.weight).toFixed(1));
    weight.addEventListener("input", () => {
      term.weight = Math.sign(term.weight) * Number(weight.value);
      shownWeight.textContent = Number(weight.value).toFixed(1);
    });
    weight.addEventListener("change", () => this.onChange());
    setNegative();
    item.append(
      sign,
      term.url ? element("img", {
        src: term.url, alt: "",
        // What the browser can't show, the server may still read.
        onerror: (event) => event.target.replaceWith(element("span", {class: "kind"}, KINDS[term.kind])),
      }) : element("span", {class: "kind"}, KINDS[term.kind]),
      element("span", {class: "label", title: term.label}, term.label), weight, shownWeight,
      element("button", {
        type: "button", class: "remove", "aria-label": `Remove ${term.label}`, onclick: () => this.#remove(term),
      }, "×"));
    return item;
  }
}
