// Fades pictures in over their reserved space once they have loaded.
function markLoaded(image) {
  image.classList.add("here");
}

export function watchPictures(root) {
  for (const image of root.querySelectorAll(".hit-picture img")) {
    if (image.complete && image.naturalWidth) markLoaded(image);
  }
}

document.addEventListener("load", (event) => {
  if (event.target instanceof HTMLImageElement) markLoaded(event.target);
}, true);
