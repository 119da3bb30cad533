"use strict";
// Without this script a cell of the matrix leads to its pictures further down; with it they open on the spot.
const box = document.querySelector("dialog");
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-gallery]");
  const gallery = link && document.getElementById(link.hash.slice(1));
  if (gallery && box.showModal) {
    event.preventDefault();
    const copy = gallery.cloneNode(true);
    copy.removeAttribute("id");
    box.lastElementChild.replaceChildren(...copy.childNodes);
    box.setAttribute("aria-label", gallery.dataset.title);
    box.showModal();
    box.scrollTop = 0;
  } else if (event.target === box || event.target.closest("dialog .close")) {
    box.close();
  }
});
// Browsers that do not open a closed part by themselves when a link leads into it.
addEventListener("hashchange", () => document.getElementById(location.hash.slice(1))?.closest("details")?.setAttribute("open", ""));
