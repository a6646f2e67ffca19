// What the page shows of posteriors: a bar for each label, and a strip of their past beside it, row by row.

const SHOWN = 64; // rows at most
const SECONDS = 6; // of the strip
const COLUMNS_PER_SECOND = 60; // at most
const MEAN_SECONDS = 0.2; // over which bars and the heard label are averaged

const element = (id) => document.getElementById(id);

export class Posteriors {
  /** `names` of the rows, and how many posteriors come in a second. */
  constructor(names, rate) {
    this.names = names;
    this.shown = Math.min(names.length, SHOWN);
    this.pool = Math.max(1, Math.ceil(rate / COLUMNS_PER_SECOND)); // posteriors in a column
    this.columns = Math.max(2, Math.round(SECONDS * rate / this.pool));
    this.window = Math.max(1, Math.round(MEAN_SECONDS * rate));
    this.bars = names.slice(0, this.shown).map(bar);
    element("bars").replaceChildren(...this.bars.map((parts) => parts.row));
    element("oldest").textContent = `${SECONDS} s ago`;
    element("more").textContent = this.shown < names.length ? `the first ${SHOWN} of ${names.length}` : "";
    this.strip = element("strip");
    this.strip.style.height = `calc(var(--row) * ${this.shown})`;
    this.small = new OffscreenCanvas(this.columns, this.shown); // a pixel for each number
    this.clear();
  }

  clear() {
    this.past = []; // columns of the strip, oldest first
    this.pooled = [];
    this.recent = []; // rows of the mean
    this.changed = true;
  }

  /** Posteriors of one output frame. */
  add(row) {
    this.recent.push(row);
    if (this.recent.length > this.window) this.recent.shift();
    this.pooled.push(row);
    if (this.pooled.length === this.pool) {
      this.past.push(row.map((_, index) => Math.max(...this.pooled.map((one) => one[index]))));
      this.pooled = [];
    }
    if (this.past.length > this.columns) this.past.shift();
    this.changed = true;
  }

  /** Once for each frame of the screen. */
  draw() {
    if (!this.changed) return;
    this.changed = false;
    const means = this.names.map((_, index) =>
      this.recent.reduce((sum, row) => sum + row[index], 0) / Math.max(1, this.recent.length));
    const top = this.recent.length ? means.indexOf(Math.max(...means)) : -1;
    this.bars.forEach((parts, index) => {
      parts.fill.style.transform = `scaleX(${means[index].toFixed(4)})`;
      say(parts.value, percent(means[index]));
      parts.row.classList.toggle("top", index === top);
    });
    say(element("label"), top < 0 ? "–" : this.names[top]);
    say(element("share"), top < 0 ? "nothing yet" : percent(means[top]));
    this.drawStrip();
  }

  drawStrip() {
    const [red, green, blue] = getComputedStyle(this.strip).color.match(/[\d.]+/g).map(Number); // of the theme
    const image = new ImageData(this.columns, this.shown), blank = this.columns - this.past.length;
    this.past.forEach((column, index) => {
      for (let row = 0; row < this.shown; row++)
        image.data.set([red, green, blue, Math.round(255 * column[row])], 4 * (row * this.columns + blank + index));
    });
    this.small.getContext("2d").putImageData(image, 0, 0);
    const { clientWidth, clientHeight } = this.strip, { devicePixelRatio } = window;
    this.strip.width = clientWidth * devicePixelRatio; // empties it
    this.strip.height = clientHeight * devicePixelRatio;
    const pen = this.strip.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.drawImage(this.small, 0, 0, this.strip.width, this.strip.height);
  }
}

function bar(name) {
  const row = document.createElement("li");
  const part = (kind, parent) => {
    const made = document.createElement("span");
    made.className = kind;
    parent.append(made);
    return made;
  };
  const label = part("name", row), track = part("track", row), fill = part("fill", track), value = part("value", row);
  label.textContent = label.title = name;
  fill.style.display = "block";
  return { row, fill, value };
}

const percent = (share) => `${Math.round(100 * share)} %`;

/** Sets a text only when it is another, so that nothing is read aloud twice. */
export function say(place, text) {
  if (place.textContent !== text) place.textContent = text;
}
