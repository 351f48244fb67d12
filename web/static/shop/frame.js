// The adjustable frame over the photo: draw a new one, move it, drag its corners, or use arrow keys or buttons.
// Each change searches again without an upload.
import { translate } from "./texts.js";

const SVG = "http://www.w3.org/2000/svg";
const MIN_SIDE = 0.05;
const STEP = 0.02;
const LONG_STEP = 0.1;
const TAP_FRAME_SIDE = 0.4;
const DRAG_PX = 6; // a shorter way of the pointer is a tap
const SEARCH_DELAY_MS = 700;
const CORNERS = { top_left: [0, 1], top_right: [2, 1], bottom_left: [0, 3], bottom_right: [2, 3] };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const NUDGES = {
  left: [-1, 0, -1, 0], right: [1, 0, 1, 0], up: [0, -1, 0, -1], down: [0, 1, 0, 1],
  larger: [-1, -1, 1, 1], smaller: [1, 1, -1, -1],
};

const within = (value, low, high) => Math.min(high, Math.max(low, value));

function draw(kind, attributes) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

export class Frame {
  // `changed` is called with [x0, y0, x1, y1] as fractions of the photo after a change.
  constructor(side, changed) {
    this.svg = side.querySelector(".photo svg");
    this.changed = changed;
    this.width = this.svg.viewBox.baseVal.width;
    this.height = this.svg.viewBox.baseVal.height;
    this.shade = draw("path", { class: "frame-shade", "fill-rule": "evenodd" });
    this.area = draw("rect", { class: "frame-area" });
    this.handles = Object.entries(CORNERS).map(([name, edges]) => this.handle(name, edges));
    this.svg.querySelector("image").after(this.shade);
    this.svg.append(this.area, ...this.handles.map(({ group }) => group));
    this.svg.addEventListener("pointerdown", (event) => this.onPress(event));
    this.svg.addEventListener("dragstart", (event) => event.preventDefault()); // of links and the picture
    this.svg.querySelector("image").addEventListener("click", (event) => this.onTap(event));
    const pad = side.querySelector(".adjust");
    pad.hidden = false;
    pad.addEventListener("click", (event) => this.onNudge(event.target.closest("[data-nudge]")));
    new ResizeObserver(() => this.paint()).observe(this.svg);
  }

  handle(name, edges) {
    const group = draw("g", {
      class: "handle", tabindex: "0", role: "slider", "aria-label": translate(`corner_${name}`),
      "aria-valuemin": "0", "aria-valuemax": "100",
    });
    const reach = draw("circle", { class: "handle-reach" });
    const dot = draw("circle", { class: "handle-dot" });
    group.append(reach, dot);
    group.addEventListener("pointerdown", (event) => this.drag(event, group, edges));
    group.addEventListener("keydown", (event) => this.onKey(event, edges));
    return { group, reach, dot, edges };
  }

  // Moves the frame without calling `changed`.
  set(box) {
    this.box = box || [0, 0, 1, 1];
    this.paint();
  }

  paint() {
    const scale = this.svg.getScreenCTM()?.a || 1;
    const [x0, y0, x1, y1] = this.box.map((edge, n) => edge * (n % 2 ? this.height : this.width));
    this.shade.setAttribute("d", `M0 0H${this.width}V${this.height}H0ZM${x0} ${y0}H${x1}V${y1}H${x0}Z`);
    for (const [name, value] of Object.entries({ x: x0, y: y0, width: x1 - x0, height: y1 - y0, rx: 6 / scale })) {
      this.area.setAttribute(name, value);
    }
    const margin = 9 / scale; // keeps the dot inside the photo at its edges
    for (const { group, reach, dot, edges: [across, down] } of this.handles) {
      const x = within(this.box[across] * this.width, margin, this.width - margin);
      const y = within(this.box[down] * this.height, margin, this.height - margin);
      for (const circle of [reach, dot]) {
        circle.setAttribute("cx", x);
        circle.setAttribute("cy", y);
      }
      reach.setAttribute("r", 22 / scale);
      dot.setAttribute("r", 8 / scale);
      const [percentX, percentY] = [this.box[across], this.box[down]].map((edge) => Math.round(edge * 100));
      group.setAttribute("aria-valuenow", percentX);
      group.setAttribute("aria-valuetext", translate("position", { x: percentX, y: percentY }));
    }
  }

  point(event) {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
    return [within(place.x / this.width, 0, 1), within(place.y / this.height, 0, 1)];
  }

  moveCorner([across, down], x, y) {
    const box = [...this.box];
    box[across] = across === 0 ? within(x, 0, box[2] - MIN_SIDE) : within(x, box[0] + MIN_SIDE, 1);
    box[down] = down === 1 ? within(y, 0, box[3] - MIN_SIDE) : within(y, box[1] + MIN_SIDE, 1);
    this.set(box);
  }

  drag(event, group, edges) {
    event.preventDefault();
    event.stopPropagation();
    group.focus({ preventScroll: true });
    this.follow(event, group, (moved) => this.moveCorner(edges, ...this.point(moved)));
  }

  // Calls `move` with each movement of the pressed pointer, then `changed` if the frame is another.
  follow(event, element, move) {
    element.setPointerCapture(event.pointerId);
    clearTimeout(this.timer);
    const before = this.box;
    const end = (ended) => {
      element.removeEventListener("pointermove", move);
      element.removeEventListener("pointercancel", end);
      element.removeEventListener("lostpointercapture", end);
      if (ended.type === "pointercancel") this.set(before);
      else if (this.box.join() !== before.join()) this.notify(0);
    };
    element.addEventListener("pointermove", move);
    element.addEventListener("pointercancel", end);
    element.addEventListener("lostpointercapture", end);
  }

  // A press that moves draws a frame, or moves the present one if it began inside; other presses are taps.
  onPress(event) {
    if (event.button !== 0 || !event.isPrimary) return;
    const [x, y] = this.point(event);
    const [x0, y0, x1, y1] = this.box;
    const whole = x1 - x0 > 0.99 && y1 - y0 > 0.99;
    const inside = !whole && x > x0 && x < x1 && y > y0 && y < y1;
    const listening = new AbortController();
    const { signal } = listening;
    const begin = (moved) => {
      if (moved.pointerId !== event.pointerId) return;
      if (Math.hypot(moved.clientX - event.clientX, moved.clientY - event.clientY) < DRAG_PX) return;
      listening.abort();
      const box = this.box;
      // The release would otherwise count as a tap on what is under it.
      this.svg.addEventListener("click", (click) => { click.preventDefault(); click.stopPropagation(); }, { once: true, capture: true });
      this.follow(event, this.svg, inside ? (to) => this.shift(box, [x, y], this.point(to)) : (to) => this.stretch([x, y], this.point(to)));
    };
    window.addEventListener("pointermove", begin, { signal });
    for (const name of ["pointerup", "pointercancel"]) window.addEventListener(name, () => listening.abort(), { signal });
  }

  shift(box, from, to) {
    const [dx, dy] = [0, 1].map((n) => within(to[n] - from[n], -box[n], 1 - box[n + 2]));
    this.set([box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy]);
  }

  stretch(from, to) {
    const low = [0, 1].map((n) => Math.min(from[n], to[n]));
    const high = [0, 1].map((n) => Math.max(from[n], to[n]));
    for (const n of [0, 1]) {
      if (high[n] - low[n] >= MIN_SIDE) continue;
      low[n] = Math.min(low[n], 1 - MIN_SIDE);
      high[n] = low[n] + MIN_SIDE;
    }
    this.set([...low, ...high]);
  }

  onKey(event, [across, down]) {
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    const step = event.shiftKey ? LONG_STEP : STEP;
    this.moveCorner([across, down], this.box[across] + arrow[0] * step, this.box[down] + arrow[1] * step);
    this.notify(SEARCH_DELAY_MS);
  }

  onNudge(button) {
    const move = button && NUDGES[button.dataset.nudge];
    if (!move) return;
    const box = this.box.map((edge, n) => edge + move[n] * STEP * 2);
    if (box[2] - box[0] < MIN_SIDE || box[3] - box[1] < MIN_SIDE) return;
    const [dx, dy] = [0, 1].map((n) => Math.max(0, -box[n]) - Math.max(0, box[n + 2] - 1));
    const shifted = move[0] === move[2] && move[1] === move[3] ? [box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy] : box;
    this.set(shifted.map((edge) => within(edge, 0, 1)));
    this.notify(SEARCH_DELAY_MS);
  }

  onTap(event) {
    const [x, y] = this.point(event);
    const half = TAP_FRAME_SIDE / 2;
    const [cx, cy] = [within(x, half, 1 - half), within(y, half, 1 - half)];
    this.set([cx - half, cy - half, cx + half, cy + half]);
    this.notify(0);
  }

  notify(delayMs) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.changed(this.box.map((edge) => Number(edge.toFixed(4)))), delayMs);
  }
}
