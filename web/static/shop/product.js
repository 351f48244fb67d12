// The product sheet: what is similar comes by itself, and can be asked for again where it did not.
import { answered, send } from "./answers.js";
import { install } from "./installed.js";
import { watchPictures } from "./pictures.js";
import { parsed } from "./result.js";
import { announce, at, body } from "./screen.js";
import { offerShare } from "./share.js";

const form = document.querySelector("form.ask-similar");

function tell(text) {
  at("similar-trouble").textContent = text;
  at("similar-trouble").hidden = !text;
}

async function fill() {
  form.hidden = true;
  at("similar-hits").hidden = false;
  try {
    const { url } = await send(new FormData(form), tell);
    const fresh = parsed(await answered(url, tell));
    const hits = fresh.querySelector(".hits") || fresh.querySelector(".nothing, .trouble p");
    tell("");
    at("similar-hits").replaceChildren(hits);
    watchPictures(at("similar-hits"));
    announce(fresh.querySelector("[data-announce]")?.dataset.announce || "");
  } catch (trouble) {
    tell(trouble.message);
    at("similar-hits").hidden = true;
    form.hidden = false;
  }
}

body.classList.replace("no-js", "js");
form.addEventListener("submit", (event) => {
  event.preventDefault();
  fill();
});
offerShare(document);
install();
fill();
