// The product page: loads similar products, with a button to try again after an error.
import { waitForResult, send } from "./answers.js";
import { install } from "./install.js";
import { watchPictures } from "./pictures.js";
import { parsed } from "./result.js";
import { announce, at, body } from "./screen.js";
import { offerShare } from "./share.js";

const form = document.querySelector("form.ask-similar");

function showStatus(text) {
  at("similar-trouble").textContent = text;
  at("similar-trouble").hidden = !text;
}

async function fill() {
  form.hidden = true;
  at("similar-hits").hidden = false;
  try {
    const { url } = await send(new FormData(form), showStatus);
    const fresh = parsed(await waitForResult(url, showStatus));
    const hits = fresh.querySelector(".hits") || fresh.querySelector(".nothing, .trouble p");
    showStatus("");
    at("similar-hits").replaceChildren(hits);
    watchPictures(at("similar-hits"));
    announce(fresh.querySelector("[data-announce]")?.dataset.announce || "");
  } catch (error) {
    showStatus(error.message);
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
