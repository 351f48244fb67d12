// The page's texts in the reader's language, which the server provides.
const texts = JSON.parse(document.getElementById("texts").textContent);

// Returns the sentence of an error code; undefined in English, where the server's message is used.
export function translateError(code) {
  return texts.errors[code];
}

// The reader's locale: the page's language with the territory that the browser prefers for it.
export function locale() {
  const { lang } = document.documentElement;
  return navigator.languages.find((each) => each.split("-")[0] === lang.split("-")[0]) || lang;
}

export function translate(name, values = {}) {
  return texts[name].replace(/%\((\w+)\)s/g, (_, key) => values[key]);
}
