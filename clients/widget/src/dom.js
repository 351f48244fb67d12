// Small helpers for elements. Nothing is parsed as HTML, so no text of a catalogue can become markup.
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && !key.includes("-")) element[key] = value;
    else if (value !== undefined && value !== false) element.setAttribute(key, value);
  }
  element.append(...children.filter((each) => each !== null && each !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function icon(path) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS(SVG, "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

export const CAMERA = "M4 8h3l2-3h6l2 3h3v11H4zM12 10a3.500 3.500 0 1 0 0 7 3.500 3.500 0 0 0 0-7";
export const CROSS = "M6 6l12 12M18 6L6 18";

// Tells the shop's own scripts: document.addEventListener("vitrine:hits", (event) => event.detail).
export function emit(host, name, detail) {
  host.dispatchEvent(new CustomEvent(`vitrine:${name}`, { detail, bubbles: true, composed: true }));
}
