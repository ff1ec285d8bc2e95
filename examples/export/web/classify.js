// Classifies the picture on the canvas: a sample at first, then what is chosen.

const canvas = document.querySelector("#picture");
const context = canvas.getContext("2d", { willReadFrequently: true });
const message = document.querySelector("#message");

/** Loads the network; `page.c` says what it has. */
async function load(address) {
  const { instance } = await WebAssembly.instantiateStreaming(fetch(address));
  instance.exports._initialize();
  return instance.exports;
}

/** Writes the picture as the network's input: of each of its pixels the nearest, from 0 to 1. */
function prepare({ data, width, height }, network) {
  const [rows, columns] = [network.height(), network.width()];
  const image = new Float32Array(network.memory.buffer, network.image(), rows * columns * 3);
  let at = 0;
  for (let row = 0; row < rows; row++) {
    const y = Math.floor((row * height) / rows);
    for (let column = 0; column < columns; column++) {
      const x = Math.floor((column * width) / columns);
      const pixel = (y * width + x) * 4;
      for (let colour = 0; colour < 3; colour++) image[at++] = data[pixel + colour] / 255;
    }
  }
}

/** Returns the scores of a picture. */
function classify(picture, network) {
  prepare(picture, network);
  network.compute();
  return [...new Float32Array(network.memory.buffer, network.scores(), network.classes())];
}

/** Lists scores as bars, the best first. */
function show(scores) {
  const ranking = scores.map((score, name) => ({ score, name })).sort((a, b) => b.score - a.score);
  const [best, worst] = [ranking[0].score, ranking.at(-1).score];
  const rows = ranking.slice(0, 10).map(({ score, name }) => {
    const row = document.createElement("tr");
    const bar = document.createElement("meter");
    Object.assign(bar, { min: worst, max: best, value: score });
    row.append(cell("th", `class ${name}`), cell("td", score.toFixed(6)), cell("td", bar));
    return row;
  });
  document.querySelector("#scores").replaceChildren(...rows);
}

function cell(kind, content) {
  const made = document.createElement(kind);
  made.append(content);
  return made;
}

/** Draws something to begin with: a disk on ground that changes its colour. */
function drawSample() {
  const ground = context.createLinearGradient(0, 0, canvas.width, canvas.height);
  ground.addColorStop(0, "teal");
  ground.addColorStop(1, "gold");
  context.fillStyle = ground;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "crimson";
  context.beginPath();
  context.arc(160, 120, 80, 0, 2 * Math.PI);
  context.fill();
}

async function drawFile(file) {
  const picture = await createImageBitmap(file);
  [canvas.width, canvas.height] = [picture.width, picture.height];
  context.drawImage(picture, 0, 0);
}

/** Classifies what the canvas has. */
function look(network) {
  show(classify(context.getImageData(0, 0, canvas.width, canvas.height), network));
}

async function start() {
  const network = await load("classify.wasm");
  document.querySelector("#file").addEventListener("change", async ({ target }) => {
    if (!target.files.length) return;
    message.textContent = "";
    try {
      await drawFile(target.files[0]);
      look(network);
    } catch (error) {
      message.textContent = `${target.files[0].name} is no picture: ${error.message}`;
    }
  });
  drawSample();
  look(network);
}

start().catch((error) => {
  message.textContent = `The network cannot be loaded: ${error.message}`;
});
