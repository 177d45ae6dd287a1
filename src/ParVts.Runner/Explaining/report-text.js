// The words and the table.

const total = pick => data.layers.reduce((sum, layer) => sum + Number(pick(layer)), 0);

/** The table's columns: a name, a layer's number, how it is written beside dense. */
const columns = [
  { name: 'Rows', of: counts => counts.rows, write: countBeside },
  { name: 'Keys', of: counts => counts.keys, write: countBeside },
  { name: 'Visible pairs', of: counts => counts.pairs, write: countBeside },
  { name: 'KV rows', of: counts => counts.kv_rows, write: countBeside },
  { name: 'KV bytes', of: counts => counts.kv_rows * data.kv_row_bytes, write: bytesBeside },
  { name: 'FLOPs', of: counts => counts.flops, write: flopsBeside },
];

for (const column of columns) {
  column.most = Math.max(...data.layers.flatMap(layer => [column.of(layer), column.of(layer.dense)]));
  column.policy = total(column.of);
  column.dense = total(layer => column.of(layer.dense));
  column.ratio = column.policy / column.dense;
}

function buildHeader() {
  document.title = `${data.policy}: ${data.question}`;
  byId('question').textContent = data.question;
  const fact = (name, ...value) => element('div', null, element('dt', null, name), element('dd', null, ...value));
  byId('facts').append(
    fact('Model', data.model),
    fact('Policy', element('code', null, data.policy)),
    fact('Device', data.device),
    fact('Prompt', `${count(data.prefix)} text + ${count(data.visual)} visual + ${count(data.text)} text rows`));
}

function buildTiles() {
  const [, , , kv, kvBytes, work] = columns;
  const left = countAt(layers).here;
  const same = data.answer === data.dense_answer;
  const speed = data.dense_prefill_ms / data.prefill_ms;
  byId('tiles').append(
    tile('Prefill FLOPs', change(work.ratio), `${flops(work.policy)} of ${flops(work.dense)}`),
    tile('KV cache', change(kv.ratio), `${bytes(kvBytes.policy)} of ${bytes(kvBytes.dense)}`),
    tile('Visual tokens', count(left), `of ${count(data.visual)} after the last layer`),
    tile('Prefill time', Number.isFinite(speed) ? `${digits(speed, 3, true)}×` : 'n/a', 'the speed of dense; one run each'),
    tile('Answer', same ? 'the same' : 'differs', `KL ${digits(data.kl, 2)} nats`));
}

const tile = (name, value, note) => element('div', { class: 'tile' },
  element('dt', null, name), element('dd', null, element('strong', null, value), element('span', null, note)));

function buildEvents() {
  const list = byId('events');
  let before = data.visual;
  for (const event of data.events) {
    list.append(buildEvent(event, before));
    // Nothing leaves by being measured; in the vision tower all is told when its merges are done.
    if (event.kind !== 'measure') before = event.kept.length;
  }
  if (data.events.length === 0) list.append(element('li', { class: 'nothing' }, 'Every visual token stays, in every layer.'));
}

function buildEvent(event, before) {
  const thumbs = element('span', { class: 'thumbs' }, ...data.images.slice(0, 3).map((image, i) => thumbnail(image, i, stateAfter(event))));
  const words = element('div', { class: 'words' },
    element('h3', null,
      element('button', { type: 'button', class: 'jump', 'data-layer': event.layer, title: 'Show this layer' }, `Layer ${event.layer}`),
      titleOf(event)),
    element('p', null, sentenceOf(event, before)));
  const details = detailsOf(event);
  if (details.length > 0) words.append(element('ul', { class: 'details' }, ...details));
  return element('li', null, thumbs, words);
}

/** The tokens right after an event, though another may follow at the same layer. */
function stateAfter(event) {
  const after = new Array(data.visual).fill('gone');
  for (const token of patches(event.kept)) after[token] = event.kind === 'split' ? 'rest' : 'alive';
  for (const token of event.kind === 'split' ? event.subject ?? [] : []) after[token] = 'subject';
  return after;
}

const titleOf = event => ({ select: 'Select', split: 'Split', fuse: 'Fuse', leave: 'Leave', merge: 'Merge', measure: 'Measure' }[event.kind] ?? event.kind);

function sentenceOf(event, before) {
  const kept = event.kept.length, left = before - kept, subject = event.subject?.length ?? 0;
  if (event.kind === 'split')
    return `${visualTokens(subject)} take path A (subject), ${count(kept - subject)} take path B (rest). None leaves yet.`;
  if (event.kind === 'fuse')
    return `The two paths become one. ${visualTokens(kept)} of path A stay, ${count(left)} of path B leave.`;
  if (event.kind === 'merge')
    return left === 0 ? `${visualTokens(kept)} are left when all of its merges are done.` : `${visualTokens(before)} become ${count(kept)}.`;
  if (event.kind === 'measure') return 'Nothing leaves by this: later decisions rest on it.';
  if (kept === 0) return `All ${visualTokens(before)} leave.`;
  if (left === 0) return `All ${visualTokens(before)} stay.`;
  return `${count(kept)} of ${visualTokens(before)} stay (${percent(kept / before)}), ${count(left)} leave.`;
}

function detailsOf(event) {
  const details = [];
  if (event.score !== null) details.push(element('li', null, element('b', null, 'Ranked by'), ` ${event.score}`));
  if (event.margin !== null)
    details.push(element('li', null, element('b', null, 'Margin'), ` ${digits(event.margin)}: the lowest score above the cut less the highest below it`));
  if (event.weights.length > 0) details.push(weightsOf(event.weights.map(Number)));
  if (event.note !== null) details.push(element('li', { class: 'note' }, element('b', null, 'Note'), ` ${event.note}`));
  return details;
}

function weightsOf(weights) {
  if (weights.length === 1) return element('li', null, element('b', null, 'Weight of path A'), ` ${digits(weights[0])} for every question row`);
  const low = Math.min(...weights), high = Math.max(...weights), mean = weights.reduce((a, b) => a + b) / weights.length;
  const bars = element('span', { class: 'weights', role: 'img', 'aria-label': `weights by row: ${weights.map(w => digits(w, 2)).join(', ')}` },
    ...weights.map(weight => {
      const bar = element('i', { title: digits(weight) });
      bar.style.height = `${100 * Math.min(Math.max(weight, 0), 1)}%`;
      return bar;
    }));
  return element('li', null, element('b', null, 'Weight of path A'),
    ` by question row: ${digits(low, 2)} to ${digits(high, 2)}, mean ${digits(mean, 2)}`, bars);
}

function buildAnswers() {
  const same = data.answer === data.dense_answer;
  const answer = (name, text, chip) => element('section', { class: 'answer' },
    element('h4', null, name, chip), element('blockquote', { dir: 'auto' }, text === '' ? '(nothing)' : text));
  const chip = element('span', { class: same ? 'chip same' : 'chip other' }, same ? '= same text' : '≠ differs');
  byId('answers').append(
    answer(element('code', null, policyName), data.answer, chip),
    answer(element('code', null, 'dense'), data.dense_answer, null));
  byId('divergence').append('KL(dense ‖ policy) ', element('strong', null, `${digits(data.kl)} nats`),
    data.kl === 0 ? ': the distributions are equal.' : '; 0 where the two distributions are equal. The likeliest tokens of each:');
  byId('tops').append(topOf(policyName, data.top, 'policy'), topOf('dense', data.dense_top, 'dense'));
}

function topOf(name, tokens, kind) {
  return element('div', null, element('h4', null, element('code', null, name)),
    element('ol', { class: `top-tokens ${kind}` }, ...tokens.map(token => {
      const bar = element('i', { class: 'fill', 'aria-hidden': 'true' });
      bar.style.width = `${100 * Math.min(Math.max(token.p, 0), 1)}%`;
      return element('li', null, element('code', { dir: 'auto' }, visible(token.text)), element('span', { class: 'track' }, bar),
        element('span', { class: 'number' }, probability(token.p)));
    })));
}

function buildTimes() {
  const longest = Math.max(data.prefill_ms, data.dense_prefill_ms, 1e-9);
  const line = (name, time, kind) => {
    const bar = element('i', { class: 'fill', 'aria-hidden': 'true' });
    bar.style.width = `${100 * time / longest}%`;
    return element('li', null, element('code', null, name), element('span', { class: 'track' }, bar), element('span', { class: 'number' }, milliseconds(time)));
  };
  byId('times').append(
    element('ul', { class: 'top-tokens times' }, line(policyName, data.prefill_ms), line('dense', data.dense_prefill_ms)),
    element('p', { class: 'fine' }, 'One run each: an indication, no measurement.'));
}

/** For each layer the first of the run of layers that cost the same. */
const runs = data.layers.reduce((starts, layer, i) => {
  const same = i > 0 && columns.every(column => column.of(layer) === column.of(data.layers[i - 1]) && column.of(layer.dense) === column.of(data.layers[i - 1].dense));
  return [...starts, same ? starts[i - 1] : i];
}, []);

// The roles are written out because a table laid out as cards is no table to some readers otherwise.
function buildCosts() {
  const head = element('tr', { role: 'row' }, element('th', { scope: 'col', role: 'columnheader' }, 'Layer'),
    ...columns.map(column => element('th', { scope: 'col', role: 'columnheader' }, column.name)));
  const rows = data.layers.map((layer, i) => {
    const row = costRow(element('button', { type: 'button', class: 'jump', 'data-layer': i, title: 'Show this layer' }),
      column => [column.of(layer), column.of(layer.dense), column.most]);
    row.id = `cost-${i}`;
    return row;
  });
  const sum = costRow('All', column => [column.policy, column.dense, Math.max(column.policy, column.dense)]);
  const ratio = element('tr', { role: 'row' }, element('th', { scope: 'row', role: 'rowheader' }, 'Ratio'),
    ...columns.map(column => element('td', { role: 'cell', 'data-name': column.name }, percent(column.ratio))));
  byId('costs').append(element('table', { role: 'table', 'aria-labelledby': 'table-title' },
    element('thead', { role: 'rowgroup' }, head), element('tbody', { role: 'rowgroup' }, ...rows), element('tfoot', { role: 'rowgroup' }, sum, ratio)));
}

function costRow(name, numbersOf) {
  return element('tr', { role: 'row' }, element('th', { scope: 'row', role: 'rowheader' }, name),
    ...columns.map(column => {
      const [policy, dense, most] = numbersOf(column);
      const bar = element('i', { class: 'fill' }), base = element('i', { class: 'base' });
      const [number, beside] = column.write(policy, dense);
      bar.style.width = `${100 * policy / Math.max(most, 1)}%`;
      base.style.width = `${100 * dense / Math.max(most, 1)}%`;
      return element('td', { role: 'cell', 'data-name': column.name },
        element('span', { class: 'figures' }, element('b', null, number), element('span', { class: 'dense' }, `/ ${beside}`)),
        element('span', { class: 'track', 'aria-hidden': 'true' }, base, bar));
    }));
}

/** Marks a layer's row. Layers in a row that cost the same share one, unless each is to have its own. */
function paintCosts(layer, every) {
  const marked = every ? layer : runs[layer] ?? -1;
  data.layers.forEach((_, i) => {
    const row = byId(`cost-${i}`), end = runs.lastIndexOf(i);
    row.hidden = !every && runs[i] !== i;
    row.querySelector('.jump').textContent = every || end === i ? String(i) : `${i} – ${end}`;
    row.classList.toggle('now', i === marked);
    if (i === marked) row.setAttribute('aria-current', 'true');
    else row.removeAttribute('aria-current');
  });
}
