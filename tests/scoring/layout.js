// What the tests of the report's layout ask the page; each name is a function.
const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

function boxes(selector) {
  return [...document.querySelectorAll(selector)].map((element) => {
    const { left, top, right, bottom } = element.getBoundingClientRect();
    return [left, top, right, bottom];
  });
}

function contents(selector) {
  return [...document.querySelectorAll(selector)].map((element) => element.textContent);
}

function outside() {
  // What stands out of the window, and is not inside something that scrolls.
  const inner = (e) => e.closest(".scroll, fieldset, pre, .skip, .hoverlayer") || e.ownerSVGElement;
  return [...document.querySelectorAll("body *")]
    .filter((e) => !inner(e) && e.getBoundingClientRect().right > innerWidth + 1)
    .map((e) => e.tagName + "." + e.className);
}

function painted(...colours) {
  context.clearRect(0, 0, 1, 1);
  for (const colour of colours) {
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
  }
  return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

function ground(element) {
  // The colour behind an element; of a hatched one the stripes that stand out less.
  for (let at = element; at; at = at.parentElement) {
    const style = getComputedStyle(at);
    if (at.matches(".miss")) return style.backgroundImage.match(/rgb\([^)]*\)/g).at(-1);
    if (!/^rgba\(.*, 0\)$|transparent/.test(style.backgroundColor)) return style.backgroundColor;
  }
  return "white";
}

function texts() {
  // All visible text with the colours of its ground and its ink.
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim();
    const element = walker.currentNode.parentElement;
    const mark = text === "●"; // the colour of a line, not text
    if (!text || mark || !element.checkVisibility() || element.matches("script, .skip, option")) continue;
    const style = getComputedStyle(element);
    const ink = element instanceof SVGElement ? style.fill : style.color;
    found.push([text.slice(0, 30), painted(ground(element)), painted(ground(element), ink)]);
  }
  return found;
}

function ratios() {
  return [...document.querySelectorAll(".heat .hit")].map((cell) => [
    cell.querySelector("strong").textContent, painted(getComputedStyle(cell).backgroundColor),
  ]);
}

function profileBottoms() {
  return [...document.querySelectorAll("#profiles .scatterlayer .js-line")]
    .filter((line) => line.style.strokeWidth !== "0px").map((line) => line.getBoundingClientRect().bottom);
}

function pictureState() {
  const sizes = [...document.querySelectorAll(".main-svg")]
    .map((picture) => picture.getAttribute("width") + picture.getAttribute("viewBox"));
  return [document.querySelectorAll("details[open]").length, ...sizes];
}
