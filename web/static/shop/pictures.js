// A picture fades in over its reserved place once it is there.
function arrived(image) {
  image.classList.add("here");
}

export function watchPictures(root) {
  for (const image of root.querySelectorAll(".hit-picture img")) {
    if (image.complete && image.naturalWidth) arrived(image);
  }
}

document.addEventListener("load", (event) => {
  if (event.target instanceof HTMLImageElement) arrived(event.target);
}, true);
