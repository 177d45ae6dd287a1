// The data, what follows from them, and numbers for people.

const data = JSON.parse(document.getElementById('data').textContent);
const layers = data.layers.length;
const tokensPerImage = data.grid.tokens;

/** The visual token of a picture's patch. */
const tokenAt = (image, row, column) => image * tokensPerImage + data.grid.extra + row * data.grid.width + column;

/** The groups of tokens, in the order of the legend. */
const groups = {
  subject: 'path A, subject',
  rest: 'path B, rest',
  alive: 'alive',
  merged: 'rows that are no patch: merged, or the class token’s',
  gone: data.events.some(event => event.kind === 'merge') ? 'merged into others, or dropped' : 'dropped',
};

/** An element; children are elements or texts, and texts stay texts. */
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

/** The same in SVG. */
function drawing(name, attributes, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const byId = id => document.getElementById(id);

/** Of the rows that are left, those that are a patch of a picture; merged ones and a class token's have negative numbers. */
const patches = kept => kept.filter(token => token >= 0);

/** The group of every visual token at the entry of a layer. */
function statesAt(layer) {
  const past = data.events.filter(event => event.layer <= layer);
  const states = new Array(data.visual).fill(past.length === 0 ? 'alive' : 'gone');
  if (past.length === 0) return states;
  let subject = null;
  for (const event of past) {
    if (event.kind === 'split') subject = event.subject;
    else if (event.kind === 'fuse' || event.kind === 'leave') subject = null;
  }
  const kept = past[past.length - 1].kept;
  for (const token of patches(kept)) states[token] = subject === null ? 'alive' : 'rest';
  for (const token of subject ?? []) if (states[token] === 'rest') states[token] = 'subject';
  return states;
}

/** The states of every position of the slider: the entry of each layer, and after the last. */
const states = Array.from({ length: layers + 1 }, (_, layer) => statesAt(layer));

/** How many tokens a group has. */
function countGroups(of) {
  const counts = { subject: 0, rest: 0, alive: 0, merged: 0, gone: 0 };
  for (const state of of) counts[state]++;
  counts.here = of.length - counts.gone;
  return counts;
}

/** The same at a position of the slider, with the rows that are no patch. */
function countAt(layer) {
  const counts = countGroups(states[layer]);
  const kept = data.events.findLast(event => event.layer <= layer)?.kept ?? [];
  counts.merged = kept.length - patches(kept).length;
  counts.here += counts.merged;
  return counts;
}

/** The ranking that a layer's tokens come from: the last until then, else the first to come; null where nothing was ranked. */
function rankingAt(layer) {
  // What was measured, or compared for a merge, need not be visual tokens.
  const ranked = data.events.filter(event => event.ranked.length > 0 && event.kind !== 'measure' && event.kind !== 'merge');
  const event = ranked.filter(past => past.layer <= layer).at(-1) ?? ranked[0];
  if (event === undefined) return null;
  event.ranking ??= rank(event);
  return event.ranking;
}

function rank(event) {
  const scores = event.scores.map(Number);
  const order = event.ranked.map((_, place) => place).sort((a, b) => scores[b] - scores[a] || event.ranked[a] - event.ranked[b]);
  const stays = event.kind === 'split' ? event.subject ?? [] : event.kept;
  const tokens = new Map();
  order.forEach((place, at) => tokens.set(event.ranked[place], { score: scores[place], rank: at + 1 }));
  const above = new Set(stays.filter(token => tokens.has(token)));
  return { event, tokens, above, count: order.length, highest: scores[order[0]], lowest: scores[order.at(-1)] };
}

/** The first position of the slider at which a token has left; null where it stays. */
function departure(token) {
  const layer = states.findIndex(at => at[token] === 'gone');
  return layer < 0 ? null : layer;
}

const layerName = layer => layer === layers ? `After layer ${layers - 1}` : `Entry of layer ${layer}`;

const count = number => Number(number).toLocaleString('en');

/** Three significant digits; everything that is no number reads n/a. */
function digits(number, places = 3, padded = false) {
  if (number === null || !Number.isFinite(Number(number))) return 'n/a';
  const value = Number(number);
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e15) {
    const [mantissa, exponent] = value.toExponential(places - 1).split('e');
    return `${mantissa} × 10${superscript(Number(exponent))}`.replace('-', '−');
  }
  const shown = Math.max(places, Math.floor(Math.log10(size)) + 1);
  return value.toLocaleString('en', { minimumSignificantDigits: padded ? shown : 1, maximumSignificantDigits: shown }).replace('-', '−');
}

const superscript = number => [...String(number)].map(digit => digit === '-' ? '⁻' : '⁰¹²³⁴⁵⁶⁷⁸⁹'[digit]).join('');

/** Numbers in the unit that suits the last of them, which carries it. */
function scaled(numbers, step, units) {
  let scale = 1, unit = 0;
  while (Math.abs(numbers.at(-1)) / scale >= step && unit < units.length - 1) {
    scale *= step;
    unit++;
  }
  const texts = numbers.map(number => unit === 0 ? count(number) : digits(number / scale, 3, true));
  return [...texts.slice(0, -1), `${texts.at(-1)} ${units[unit]}`.trim()];
}

/** Two numbers under one unit. */
const flopsBeside = (number, dense) => scaled([number, dense], 1000, ['', 'k', 'M', 'G', 'T', 'P', 'E']);
const bytesBeside = (number, dense) => scaled([number, dense], 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']);
const flops = number => flopsBeside(number, number)[1];
const bytes = number => bytesBeside(number, number)[1];
const countBeside = (number, dense) => [count(number), count(dense)];
const percent = share => Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : 'n/a';
const change = ratio => !Number.isFinite(ratio) ? 'n/a' : ratio === 1 ? '±0 %' : `${ratio < 1 ? '−' : '+'}${(100 * Math.abs(1 - ratio)).toFixed(1)} %`;
const probability = p => p >= 0.0005 ? percent(p) : digits(100 * p, 2) + ' %';
const milliseconds = time => time >= 1000 ? `${(time / 1000).toPrecision(3)} s` : `${digits(time)} ms`;
const plural = (number, one, many) => `${count(number)} ${Number(number) === 1 ? one : many}`;
const visualTokens = number => plural(number, 'visual token', 'visual tokens');

const capital = text => text.charAt(0).toUpperCase() + text.slice(1);

/** The policy without its parameters. */
const policyName = data.policy.replace(/:[^+]*/g, '');

/** A token's text with what cannot be seen made visible. */
const visible = text => text === '' ? '∅' : text.replaceAll(' ', '␣').replaceAll('\n', '⏎').replaceAll('\t', '⇥');
