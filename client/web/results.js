// The grid of results.
import {element} from "./dom.js";
import {showable} from "./key.js";
import {pictureUrls} from "./pictures.js";

const TITLE_FIELDS = ["title", "caption", "name", "file", "path", "filename", "url"];

export function titleOf(hit) {
  for (const field of TITLE_FIELDS) {
    const value = hit.metadata?.[field];
    if (typeof value === "string" && value !== "") return value;
  }
  return hit.id;
}

// A steady colour for a picture that can't be shown.
function hueOf(id) {
  let hash = 0;
  for (const char of id) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  return hash % 360;
}

function tile(hit) {
  const node = element("div", {class: "tile", role: "img", "aria-label": titleOf(hit)},
    element("span", {}, titleOf(hit).split("/").pop()));
  node.style.setProperty("--hue", hueOf(hit.id));
  return node;
}

// The picture, or a tile with its title when there is none to show.
export function preview(hit, collection) {
  const urls = pictureUrls(collection, hit.id);
  if (urls.length === 0) return tile(hit);
  const image = element("img", {alt: titleOf(hit), loading: "lazy", decoding: "async"});
  const next = async () => {
    if (urls.length === 0) {
      image.replaceWith(tile(hit));
      return;
    }
    try {
      image.src = await showable(urls.shift());
    } catch {
      next();
    }
  };
  image.addEventListener("error", next);
  next();
  return image;
}

const tagsOf = (hit) => Object.entries(hit.metadata || {})
  .filter(([key, value]) => !TITLE_FIELDS.includes(key) && (value === null || typeof value !== "object"))
  .slice(0, 3)
  .map(([key, value]) => `${key}: ${value}`);

// What a card tells of the match: relevance where the server could judge it, or else the score.
function matchOf(hit) {
  const score = hit.score.toFixed(3);
  if (typeof hit.relevance !== "number") {
    return {text: score, label: `score ${score}`, title: "Cosine similarity to the query"};
  }
  const percent = `${Math.floor(hit.relevance * 100)} %`;
  return {text: percent, label: `relevance ${percent}`,
          title: `How sure this is no chance. Cosine similarity to the query: ${score}`};
}

export class Results {
  // actions: {more(hit), less(hit), open(hit), copies(hit): hits folded under it, collection(): name}
  constructor(list, actions) {
    this.list = list;
    this.actions = actions;
    this.cards = new Map();  // id -> card
    list.addEventListener("keydown", (event) => this.#arrows(event));
  }

  clear() {
    this.cards.clear();
    this.list.replaceChildren();
  }

  add(hits) {
    for (const hit of hits) {
      const card = this.#card(hit);
      this.cards.set(hit.id, card);
      this.list.append(card);
    }
  }

  // Duplicates that the server folded under a hit: a button that puts them behind its card.
  #copies(hit) {
    if (!hit.duplicates?.length) return [];
    const count = hit.duplicates.length;
    const button = element("button", {
      type: "button", class: "copies quiet", "aria-label": `Show ${count} duplicates of ${titleOf(hit)}`,
      onclick: async () => {
        button.disabled = true;
        const cards = (await this.actions.copies(hit)).map((copy) => this.#card(copy));
        this.cards.get(hit.id)?.after(...cards);
        button.remove();
        cards[0]?.querySelector(".open").focus();
      },
    }, `+ ${count} ${hit.duplicates.every((one) => one.tier === "LOOK_ALIKE") ? "alike" : "same"}`);
    return [button];
  }

  #card(hit) {
    const title = titleOf(hit);
    const match = matchOf(hit);
    return element("li", {class: "card"},
      element("button", {
        type: "button", class: "open", "aria-label": `${title}, ${match.label}. Details`,
        onclick: () => this.actions.open(hit),
      }, preview(hit, this.actions.collection())),
      element("div", {class: "caption"},
        element("span", {class: "title", title: hit.id}, title.split("/").pop()),
        element("span", {class: "score", title: match.title}, match.text)),
      element("div", {class: "tags"}, ...tagsOf(hit).map((text) => element("span", {}, text)), ...this.#copies(hit)),
      element("div", {class: "buttons"},
        element("button", {type: "button", class: "quiet more", "aria-label": `More like ${title}`,
                           onclick: () => this.actions.more(hit)}, "More like this"),
        element("button", {type: "button", class: "quiet less", "aria-label": `Less like ${title}`,
                           onclick: () => this.actions.less(hit)}, "Less")));
  }

  // Arrow keys move between cards as they lie on the screen.
  #arrows(event) {
    const card = event.target.closest(".card");
    if (!card || !event.key.startsWith("Arrow")) return;
    const cards = [...this.list.children];
    const columns = cards.filter((item) => item.offsetTop === cards[0].offsetTop).length;
    const step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns}[event.key];
    const next = cards[cards.indexOf(card) + step];
    if (next) next.querySelector(".open").focus();
    event.preventDefault();
  }
}
