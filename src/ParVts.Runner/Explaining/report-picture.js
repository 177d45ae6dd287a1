// The pictures with their tokens, the strip over the slider, and what is read by pointing.

/** Stops of a colour scale whose lightness only rises, so that it reads without colour as well. */
const heatStops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

function heatColour(share) {
  const at = Math.min(Math.max(share, 0), 1) * (heatStops.length - 1);
  const low = Math.min(Math.floor(at), heatStops.length - 2);
  const mixed = heatStops[low].map((from, i) => Math.round(from + (heatStops[low + 1][i] - from) * (at - low)));
  return `rgb(${mixed.join(' ')})`;
}

/** The cells of all pictures, by visual token. */
const cells = [];

const imageName = i => data.images.length === 1 ? 'Picture' : `Picture ${i + 1} of ${data.images.length}`;

function buildPictures() {
  const holder = byId('pictures');
  holder.classList.toggle('several', data.images.length > 1);
  data.images.forEach((image, i) => holder.append(buildPicture(image, i)));
  if (data.images.length === 0) holder.append(element('p', { class: 'empty' }, 'The prompt has no picture.'));
}

function buildPicture(image, i) {
  const { width, height } = data.grid;
  const grid = element('div', {
    class: 'tokens', role: 'grid', tabindex: '0', id: `tokens-${i}`, 'aria-rowcount': height, 'aria-colcount': width,
  });
  grid.style.setProperty('--columns', width);
  grid.style.setProperty('--rows', height);
  for (let row = 0; row < height; row++) {
    const line = element('div', { role: 'row' });
    for (let column = 0; column < width; column++) {
      const token = tokenAt(i, row, column);
      cells[token] = element('div', { role: 'gridcell', class: 'token', id: `token-${token}` });
      line.append(cells[token]);
    }
    grid.append(line);
  }
  listen(grid, i);
  const outline = drawing('svg', { class: 'outline', viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    drawing('path', {}), drawing('path', {}));
  const frame = element('div', { class: 'frame' }, element('img', { src: image.png, alt: image.name, draggable: 'false' }), grid, outline);
  frame.style.aspectRatio = `${width} / ${height}`;
  return element('figure', { class: 'picture' }, frame, data.images.length > 1 ? element('figcaption', { dir: 'auto' }, image.name) : null);
}

/** Shows a layer's tokens. */
function paintPictures(layer, heat) {
  const ranking = heat ? rankingAt(layer) : null;
  byId('pictures').classList.toggle('heat', ranking !== null);
  cells.forEach((cell, token) => {
    const placed = ranking?.tokens.get(token);
    cell.className = `token ${states[layer][token]}`;
    cell.style.setProperty('--heat', placed === undefined ? 'transparent' : heatColour(heatShare(placed.rank, ranking.count)));
    cell.setAttribute('aria-label', describe(token, layer).join('. '));
  });
  const chosen = ranking === null ? new Set(states[layer].flatMap((state, token) => state === 'subject' || state === 'alive' ? [token] : [])) : ranking.above;
  data.images.forEach((_, i) => {
    for (const path of byId(`tokens-${i}`).parentElement.querySelectorAll('.outline path')) path.setAttribute('d', outlineOf(chosen, i));
    const counts = countGroups(states[layer].slice(i * tokensPerImage, (i + 1) * tokensPerImage));
    byId(`tokens-${i}`).setAttribute('aria-label', `${imageName(i)}, ${layerName(layer)}: ${counts.here} of ${tokensPerImage} visual tokens are alive`);
  });
}

/** The border between the chosen tokens of a picture and the others; empty where all are chosen. */
function outlineOf(chosen, i) {
  const { width, height } = data.grid;
  const has = (row, column) => row >= 0 && row < height && column >= 0 && column < width && chosen.has(tokenAt(i, row, column));
  let path = '', others = false;
  for (let row = 0; row <= height; row++) {
    for (let column = 0; column <= width; column++) {
      const here = has(row, column);
      others ||= !here && row < height && column < width;
      if (here !== has(row - 1, column)) path += `M${column} ${row}h1`;
      if (here !== has(row, column - 1)) path += `M${column} ${row}v1`;
    }
  }
  return others ? path : '';
}

const heatShare = (rank, of) => of < 2 ? 1 : (of - rank) / (of - 1);

/** What is to be said of a token, in lines. */
function describe(token, layer) {
  const place = token % tokensPerImage - data.grid.extra, width = data.grid.width;
  const lines = [`Token ${token} · row ${Math.floor(place / width)}, column ${place % width}`];
  const state = states[layer][token], leaves = departure(token);
  if (state === 'gone') lines.push(`Dropped at layer ${leaves}`);
  else lines.push(capital(groups[state]) + (leaves === null ? ', to the end' : `, dropped at layer ${leaves}`));
  const ranking = rankingAt(layer), placed = ranking?.tokens.get(token);
  if (placed !== undefined) lines.push(`Score ${digits(placed.score)} · rank ${count(placed.rank)} of ${count(ranking.count)}`);
  else if (ranking !== null) lines.push('Not ranked');
  return lines;
}

/** Pointer and arrow keys read tokens. */
function listen(grid, i) {
  const { width, height } = data.grid;
  let row = 0, column = 0;
  const show = () => point(grid, tokenAt(i, row, column));
  grid.addEventListener('pointermove', event => {
    const box = grid.getBoundingClientRect();
    column = Math.min(Math.max(Math.floor((event.clientX - box.left) / box.width * width), 0), width - 1);
    row = Math.min(Math.max(Math.floor((event.clientY - box.top) / box.height * height), 0), height - 1);
    show();
  });
  grid.addEventListener('pointerleave', () => point(grid, null));
  grid.addEventListener('blur', () => point(grid, null));
  grid.addEventListener('focus', () => { if (grid.matches(':focus-visible')) show(); });
  grid.addEventListener('keydown', event => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (event.key === 'Escape') point(grid, null);
    if (step === undefined) return;
    event.preventDefault();
    row = Math.min(Math.max(row + step[0], 0), height - 1);
    column = Math.min(Math.max(column + step[1], 0), width - 1);
    show();
  });
}

let pointed = null;

/** Shows the note of a token, or none. */
function point(grid, token) {
  const tip = byId('tip');
  if (pointed !== null) cells[pointed].removeAttribute('data-pointed');
  pointed = token;
  tip.hidden = token === null;
  if (token === null) {
    grid.removeAttribute('aria-activedescendant');
    return;
  }
  cells[token].setAttribute('data-pointed', '');
  grid.setAttribute('aria-activedescendant', cells[token].id);
  tip.replaceChildren(...describe(token, current.layer).map((line, i) => element(i === 0 ? 'strong' : 'span', null, line)));
  const cell = cells[token].getBoundingClientRect(), size = tip.getBoundingClientRect();
  const left = Math.min(Math.max(cell.left + cell.width / 2 - size.width / 2, 8), document.documentElement.clientWidth - size.width - 8);
  const above = cell.top - size.height - 8;
  tip.style.left = `${left}px`;
  tip.style.top = `${above >= 8 ? above : cell.bottom + 8}px`;
}

/** The strip: for each position of the slider a bar of the tokens that are there. */
function buildStrip() {
  const strip = byId('strip'), scale = byId('scale');
  document.body.style.setProperty('--positions', layers + 1);
  const changes = new Set(data.events.map(event => event.layer));
  const labels = [0, layers, ...changes].sort((a, b) => a - b);
  for (let layer = 0; layer <= layers; layer++) {
    const bar = element('div', { class: 'bar', 'data-layer': layer });
    const counts = countAt(layer);
    for (const group of ['rest', 'subject', 'alive', 'merged']) {
      if (counts[group] === 0) continue;
      const part = element('div', { class: `part ${group}` });
      part.style.height = `${100 * counts[group] / Math.max(data.visual, 1)}%`;
      bar.append(part);
    }
    strip.append(bar);
    const last = layer === layers;
    // Numbers that would run into each other give way to those of events.
    const near = labels.some(other => other !== layer && Math.abs(other - layer) * 12 < layers + 1);
    const shown = labels.includes(layer) || (!near && layer % Math.max(1, Math.ceil(layers / 8)) === 0);
    scale.append(element('span', { class: changes.has(layer) ? 'change' : null }, shown ? (last ? 'end' : String(layer)) : ''));
  }
}

/** A small picture of a state of the tokens. */
function thumbnail(image, i, of) {
  const { width, height } = data.grid;
  const paths = { gone: '', subject: '', rest: '' };
  for (let place = 0; place < width * height; place++) {
    const state = of[tokenAt(i, 0, place)];
    if (state !== 'alive') paths[state] += `M${place % width} ${Math.floor(place / width)}h1v1h-1z`;
  }
  return element('span', { class: 'thumb' },
    element('img', { src: image.png, alt: '' }),
    drawing('svg', { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
      ...Object.entries(paths).filter(([, path]) => path !== '').map(([group, path]) => drawing('path', { class: group, d: path }))));
}
