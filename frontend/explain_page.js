"use strict";
for (const button of document.querySelectorAll("button[data-open]"))
  button.addEventListener("click", () => {
    for (const block of document.querySelectorAll("#graph details")) block.open = button.dataset.open === "1";
  });
const chart = document.getElementById("memory"), data = document.getElementById("live");
if (chart && data) {
  const live = JSON.parse(data.textContent), cursor = document.getElementById("cursor");
  const reading = document.getElementById("reading"), left = +chart.dataset.left, width = +chart.dataset.width;
  const size = (bytes) => {
    let unit = 0;
    for (; bytes >= 1024 && unit < 4; unit++) bytes /= 1024;
    return bytes.toFixed(unit ? 1 : 0) + " " + ["B", "KiB", "MiB", "GiB", "TiB"][unit];
  };
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect(), x = (event.clientX - box.left) / box.width * chart.viewBox.baseVal.width;
    const at = Math.floor((x - left) / width * live.bytes.length);
    if (at < 0 || at >= live.bytes.length) return;
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.style.visibility = "visible";
    reading.textContent = `instruction ${at}, ${live.names[at]}: ${size(live.bytes[at])} of temporaries, ` +
      `${size(live.bytes[at] + live.state)} in all`;
  });
  chart.addEventListener("pointerleave", () => {
    cursor.style.visibility = "hidden";
    reading.textContent = "";
  });
}
