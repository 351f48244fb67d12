// The photo with frames over its objects: tap one, or drag to draw another.
import { make } from "./dom.js";
import { text } from "./texts.js";

const MIN_SHARE = 0.03;

const place = (element, [x0, y0, x1, y1]) => {
  const { style } = element;
  [style.left, style.top, style.width, style.height] = [x0, y0, x1 - x0, y1 - y0].map((share) => `${share * 100}%`);
};

// Draws the photo; returns null for formats that this browser cannot show.
export async function photoView(photo) {
  let picture;
  try {
    picture = await createImageBitmap(photo, { imageOrientation: "from-image" });
  } catch {
    return null;
  }
  const scale = Math.min(1, 800 / Math.max(picture.width, picture.height));
  // A canvas, not a blob: address, so that the shop's img-src needs nothing for it.
  const canvas = make("canvas", { width: picture.width * scale, height: picture.height * scale, role: "img", "aria-label": text("photo") });
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return make("div", { className: "photo" }, canvas);
}

// Puts frames over the photo. `chosen` is the number of the marked object; `box` is a frame of the shopper's own.
export function showFrames(view, objects, { chosen, box, onChoose, onDraw }) {
  view.querySelectorAll(".frame").forEach((each) => each.remove());
  objects.forEach((object, at) => {
    const button = make("button", {
      className: "frame", type: "button", "aria-label": text("object", { number: at + 1 }),
      "aria-pressed": String(!box && at === chosen), onclick: () => onChoose(at),
    });
    place(button, object.box);
    view.append(button);
  });
  if (box) {
    const own = make("div", { className: "frame own" });
    place(own, box);
    view.append(own);
  }
  view.onpointerdown = (event) => draw(view, event, onDraw);
}

function draw(view, event, onDraw) {
  if (event.button !== 0) return;
  const area = view.getBoundingClientRect();
  const at = (moved) => [(moved.clientX - area.left) / area.width, (moved.clientY - area.top) / area.height].map((share) => Math.min(1, Math.max(0, share)));
  const [x, y] = at(event);
  let frame, box;
  const move = (moved) => {
    const [nx, ny] = at(moved);
    const now = [Math.min(x, nx), Math.min(y, ny), Math.max(x, nx), Math.max(y, ny)];
    if (!frame && Math.max(now[2] - now[0], now[3] - now[1]) < MIN_SHARE) return; // a tap
    if (!frame) {
      frame = make("div", { className: "frame own" });
      view.append(frame);
      view.setPointerCapture(event.pointerId);
    }
    box = now;
    place(frame, box);
  };
  const stop = new AbortController();
  const end = () => {
    stop.abort();
    frame?.remove();
    if (box && box[2] - box[0] >= MIN_SHARE && box[3] - box[1] >= MIN_SHARE) onDraw(box.map((share) => Number(share.toFixed(4))));
  };
  view.addEventListener("pointermove", move, { signal: stop.signal });
  view.addEventListener("pointerup", end, { signal: stop.signal });
  view.addEventListener("pointercancel", () => { box = null; end(); }, { signal: stop.signal });
}
