// The page's words in the reader's language: the server wrote them, no text is written in a script.
const words = JSON.parse(document.getElementById("words").textContent);

// What an error is in the reader's language; undefined where the server's own sentence is the best there is.
export function sayError(code) {
  return words.errors[code];
}

export function say(name, values = {}) {
  return words[name].replace(/%\((\w+)\)s/g, (_, key) => values[key]);
}
