// Goes back to the page that was wanted as soon as there is a network.
window.addEventListener("online", () => location.reload());
