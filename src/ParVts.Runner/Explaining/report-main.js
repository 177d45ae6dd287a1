// Puts the page together and follows the slider.

const current = { layer: 0, heat: false };
const slider = byId('layer'), heat = byId('heat'), every = byId('every');

function show(layer) {
  current.layer = layer;
  const counts = countAt(layer);
  const said = counts.subject + counts.rest > 0
    ? `two paths: ${count(counts.subject)} + ${visualTokens(counts.rest)}`
    : `${count(counts.here)} of ${visualTokens(data.visual)} alive`;
  slider.value = layer;
  slider.setAttribute('aria-valuetext', `${layerName(layer)}: ${said}`);
  byId('layer-name').textContent = layerName(layer);
  byId('layer-state').textContent = said;
  paintPictures(layer, current.heat);
  paintLegend(counts);
  paintRamp();
  for (const bar of byId('strip').children) bar.classList.toggle('now', Number(bar.dataset.layer) === layer);
  paintCosts(layer, every.checked);
  for (const item of byId('events').querySelectorAll('.jump')) item.closest('li').classList.toggle('now', Number(item.dataset.layer) === layer);
}

function paintLegend(counts) {
  byId('legend').replaceChildren(...Object.keys(groups).filter(group => counts[group] > 0).map(group =>
    element('li', null, element('span', { class: `swatch ${group}`, 'aria-hidden': 'true' }), `${groups[group]} `, element('b', null, count(counts[group])))));
}

/** The scale of the scores, with the place of the cut. */
function paintRamp() {
  const ramp = byId('ramp'), ranking = current.heat ? rankingAt(current.layer) : null;
  ramp.hidden = ranking === null;
  if (ranking === null) return;
  const above = ranking.above.size;
  const bar = element('div', { class: 'ramp-bar', 'aria-hidden': 'true' });
  bar.style.background = `linear-gradient(90deg, ${heatStops.map((_, i) => heatColour(i / (heatStops.length - 1))).join(', ')})`;
  if (above > 0 && above < ranking.count) {
    const cut = element('i', { class: 'cut' });
    cut.style.left = `${100 * (1 - above / ranking.count)}%`;
    bar.append(cut);
  }
  ramp.replaceChildren(bar,
    element('div', { class: 'ramp-ends' }, element('span', null, digits(ranking.lowest)), element('span', null, digits(ranking.highest))),
    element('p', { class: 'fine' }, `${capital(ranking.event.score ?? 'score')}; ranked at layer ${ranking.event.layer}, coloured by rank. ${count(above)} of ${count(ranking.count)} tokens are above the cut, inside the outline.${states[current.layer].includes('gone') ? ' Small squares are dropped tokens.' : ''}`));
}

function jump(event) {
  const button = event.target.closest('[data-layer]');
  if (button !== null) show(Number(button.dataset.layer));
}

buildHeader();
buildTiles();
buildPictures();
buildStrip();
buildEvents();
buildAnswers();
buildTimes();
buildCosts();
byId('foot').textContent = `${data.model}, ${data.policy}, ${data.device}. FLOPs are the decoder's prefill, without the head. Written by parvts explain.`;

slider.max = layers;
slider.addEventListener('input', () => show(Number(slider.value)));
for (const id of ['strip', 'events', 'costs']) byId(id).addEventListener('click', jump);
heat.disabled = rankingAt(0) === null;
heat.addEventListener('change', () => {
  current.heat = heat.checked;
  show(current.layer);
});
every.addEventListener('change', () => show(current.layer));
show(0);
