// The path below which a proxy serves Vitrine, such as "/search"; empty at the root of a host.
export const root = document.documentElement.dataset.root || "";
