// The page's texts in the reader's language, which the server provides.
const texts = JSON.parse(document.getElementById("texts").textContent);

// Returns the sentence of an error code; undefined in English, where the server's message is used.
export function translateError(code) {
  return texts.errors[code];
}

export function translate(name, values = {}) {
  return texts[name].replace(/%\((\w+)\)s/g, (_, key) => values[key]);
}
