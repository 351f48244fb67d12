// One constructed stylesheet for all parts: a strict style-src of the shop does not concern it.
const CSS = `
:host { --bg: var(--vitrine-background, #fff); --fg: var(--vitrine-text, #1d1b19); --soft: var(--vitrine-soft, #f3f1ee);
  --mute: var(--vitrine-muted, #625c56); --accent: var(--vitrine-accent, #a83b16); --on: var(--vitrine-on-accent, #fff);
  --round: var(--vitrine-radius, 10px); font: 400 16px/1.45 var(--vitrine-font, system-ui, sans-serif); color: var(--fg); }
@media (prefers-color-scheme: dark) { :host { --bg: var(--vitrine-background, #1b1917); --fg: var(--vitrine-text, #f2eee9);
  --soft: var(--vitrine-soft, #2a2724); --mute: var(--vitrine-muted, #b5ada4); --accent: var(--vitrine-accent, #ff9a6c); --on: var(--vitrine-on-accent, #1b1917); } }
:host([theme=light]) { --bg: var(--vitrine-background, #fff); --fg: var(--vitrine-text, #1d1b19); --soft: var(--vitrine-soft, #f3f1ee);
  --mute: var(--vitrine-muted, #625c56); --accent: var(--vitrine-accent, #a83b16); --on: var(--vitrine-on-accent, #fff); }
* { box-sizing: border-box; } [hidden] { display: none !important; }
button, input, select { font: inherit; color: inherit; } svg { width: 24px; height: 24px; fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.open, .close { display: inline-grid; place-items: center; width: 44px; height: 44px; padding: 0; border: 0; border-radius: var(--round); background: transparent; cursor: pointer; }
.open:hover, .close:hover { background: var(--soft); }
dialog { width: min(1040px, 100vw); max-width: none; height: min(820px, 100dvh); max-height: none; margin: auto; padding: 0; border: 0; border-radius: var(--round); background: var(--bg); color: var(--fg); text-align: start; }
dialog[open] { display: flex; flex-direction: column; } dialog::backdrop { background: rgb(0 0 0 / .5); }
.head { display: flex; align-items: center; justify-content: space-between; gap: 12px; padding: 6px 8px 6px 18px; border-bottom: 1px solid var(--soft); }
[dir=rtl] .head { padding: 6px 18px 6px 8px; }
h2 { margin: 0; font-size: 1.05rem; font-weight: 650; } .main { flex: 1; min-height: 0; position: relative; overflow: auto; padding: 16px 18px 24px; }
.start { display: grid; place-content: center; justify-items: center; gap: 18px; min-height: 100%; padding: 24px; border: 2px dashed color-mix(in srgb, var(--mute) 45%, transparent); border-radius: var(--round); text-align: center; }
.start.over { border-color: var(--accent); background: var(--soft); } .start > svg { width: 56px; height: 56px; stroke-width: 1.2; color: var(--mute); } .start p { margin: 0; color: var(--mute); }
.choices { display: flex; flex-wrap: wrap; gap: 12px; justify-content: center; }
.button { display: inline-flex; align-items: center; justify-content: center; min-height: 44px; padding: 0 20px; border: 0; border-radius: var(--round); background: var(--accent); color: var(--on); font-weight: 600; cursor: pointer; }
.button.quiet { background: var(--soft); color: var(--fg); } .button:focus-within { outline: 3px solid var(--accent); outline-offset: 2px; }
.file { position: absolute; width: 1px; height: 1px; opacity: 0; }
.result { display: grid; gap: 18px; } @media (max-width: 600px) { dialog { height: 100dvh; border-radius: 0; } .bar select { flex: 1 1 100%; max-width: none; } }
@media (min-width: 760px) { .result { grid-template-columns: 320px 1fr; align-items: start; } .side { position: sticky; top: 0; } }
.side { display: grid; gap: 8px; justify-items: center; } .side p { margin: 0; color: var(--mute); font-size: .875rem; text-align: center; }
.photo { position: relative; display: inline-block; max-width: 100%; touch-action: pan-y; cursor: crosshair; user-select: none; } .photo canvas { display: block; max-width: 100%; max-height: 34dvh; border-radius: var(--round); } @media (min-width: 760px) { .photo canvas { max-height: 56dvh; } }
.frame { position: absolute; padding: 0; border: 2px solid #fff; border-radius: 8px; background: transparent; box-shadow: 0 0 0 1px rgb(0 0 0 / .55); cursor: pointer; } .frame[aria-pressed=true], .frame.own { border-width: 3px; border-color: var(--accent); } .own { pointer-events: none; }
.bar { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; margin-bottom: 12px; } .bar select, .bar input { min-height: 40px; padding: 0 10px; border: 1px solid color-mix(in srgb, var(--mute) 60%, transparent); border-radius: var(--round); background: var(--bg); } .bar input { width: 4.6em; } .bar select { max-width: 10em; } .bar label { display: inline-flex; gap: 6px; align-items: center; color: var(--mute); font-size: .9rem; } .bar .button { min-height: 40px; }
fieldset { display: contents; border: 0; } legend { position: absolute; clip-path: inset(50%); }
ul { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(150px, 44%), 1fr)); gap: 14px; margin: 0; padding: 0; list-style: none; }
.hit { display: flex; flex-direction: column; gap: 4px; width: 100%; height: 100%; padding: 0; border: 0; border-radius: var(--round); background: none; color: inherit; text-align: start; text-decoration: none; cursor: pointer; } .hit:hover .title { text-decoration: underline; }
.picture { display: block; aspect-ratio: 1; overflow: hidden; border-radius: var(--round); background: var(--soft); } .picture img { display: block; width: 100%; height: 100%; object-fit: contain; mix-blend-mode: normal; }
.title { font-size: .925rem; overflow-wrap: anywhere; display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical; overflow: hidden; } .price { font-weight: 600; font-size: .925rem; }
.more { display: flex; justify-content: center; margin-top: 18px; } .note { display: grid; gap: 14px; place-items: center; align-content: center; min-height: 220px; margin: 0; text-align: center; }
.spin { width: 44px; height: 44px; border: 4px solid var(--soft); border-top-color: var(--accent); border-radius: 50%; animation: turn 1s linear infinite; } @keyframes turn { to { rotate: 360deg; } } @media (prefers-reduced-motion: reduce) { .spin { animation: none; } }
.live { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); } [aria-busy=true] { opacity: .5; }
.strip ul { display: flex; gap: 14px; overflow-x: auto; padding: 4px 4px 10px; scroll-snap-type: x proximity; } .strip li { flex: 0 0 152px; scroll-snap-align: start; } .strip h2 { margin: 0 0 12px; font-size: 1.15rem; }
`;

let sheet;

export function openShadow(host) {
  const root = host.attachShadow({ mode: "open" });
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  root.adoptedStyleSheets = [sheet];
  return root;
}
