// The shop's own script: it opens hits in its product page, and logs the widget's events.
const script = document.querySelector("script[data-key]");
const server = script.src.replace(/\/widget\/.*$/, "");
const { key, catalogue } = script.dataset;

// The demo catalogue's products have no addresses of their own, so the shop opens its page itself.
document.addEventListener("vitrine:click", ({ detail }) => {
  if (!detail.url) location.assign(`/product.html?id=${encodeURIComponent(detail.product_id)}`);
});
for (const name of ["search", "hits", "click", "error"]) {
  document.addEventListener(`vitrine:${name}`, (event) => console.info(event.type, event.detail));
}

async function showProduct(id) {
  const headers = { Authorization: `Bearer ${key}` };
  const answer = await fetch(`${server}/v1/catalogues/${catalogue}/products/${encodeURIComponent(id)}`, { headers });
  if (!answer.ok) return;
  const product = await answer.json();
  const title = product.titles[document.documentElement.lang] || product.titles.en;
  document.title = `${title} · Lund & Ida`;
  document.getElementById("title").textContent = title;
  document.getElementById("picture").src = `${new URL(product.images[0].url, server)}?size=640&key=${key}`;
  document.getElementById("picture").alt = title;
  const format = new Intl.NumberFormat(document.documentElement.lang, { style: "currency", currency: product.currency || "EUR" });
  if (product.price !== null) document.getElementById("price").textContent = format.format(product.price);
}

const id = new URLSearchParams(location.search).get("id");
if (id && document.getElementById("picture")) {
  document.getElementById("similar").setAttribute("product-id", id);
  showProduct(id);
}
