// What the report does in a browser: says what is under the pointer, and highlights a family, a language or a layer in all
// figures at once. Marks carry data-tip, data-language, data-family, data-layer; a group's attributes hold for what is in it.
(() => {
  const familyOf = JSON.parse(document.getElementById('families').textContent);
  const tip = document.getElementById('tip');
  const said = document.getElementById('said');
  const chosen = { family: '', language: '', layer: '' };
  const marks = [
    ...document.querySelectorAll('figure svg [data-family], figure svg [data-language], figure svg [data-layer]'),
  ];

  const differs = (mark, key) => {
    const value = mark.dataset[key] ?? (key === 'family' ? familyOf[mark.dataset.language] : undefined);
    return value !== undefined && value !== chosen[key];
  };
  /** A language's own marks stay; of the family's marks, which name no language, those of its family stay. */
  const dimmed = mark => {
    if (chosen.layer !== '' && differs(mark, 'layer')) return true;
    if (chosen.language !== '') {
      if (mark.dataset.language !== undefined) return differs(mark, 'language');
      return mark.dataset.family !== undefined && mark.dataset.family !== familyOf[chosen.language];
    }
    return chosen.family !== '' && differs(mark, 'family');
  };
  /** Tokens of a strip take the colour of their expert in the chosen layer. */
  const paintTokens = () => {
    for (const strip of document.querySelectorAll('[data-layers][data-marks]')) {
      const at = strip.dataset.layers.split(',').indexOf(chosen.layer);
      const bands = strip.dataset.marks.split(',');
      const colours = strip.dataset.colours.split(',');
      for (const token of strip.querySelectorAll('[data-bands]')) {
        const ground = token.querySelector('rect');
        ground.dataset.fill ??= ground.getAttribute('fill');
        const colour = colours[bands.indexOf(token.dataset.bands[at])];
        ground.setAttribute('fill', at < 0 || colour === undefined ? ground.dataset.fill : colour);
      }
    }
  };
  const show = () => {
    paintTokens();
    for (const mark of marks) mark.classList.toggle('dim', dimmed(mark));
    for (const button of document.querySelectorAll('.controls button[data-pick]')) {
      button.setAttribute('aria-pressed', String(button.dataset.pick === chosen.family));
    }
    for (const row of document.querySelectorAll('tr[data-row]')) {
      row.classList.toggle('chosen', row.dataset.row === chosen.language);
    }
    document.getElementById('language').value = chosen.language;
    document.getElementById('layer').value = chosen.layer;
  };
  const clear = () => {
    Object.assign(chosen, { family: '', language: '', layer: '' });
    show();
  };

  for (const button of document.querySelectorAll('.controls button[data-pick]')) {
    button.addEventListener('click', () => {
      chosen.family = chosen.family === button.dataset.pick ? '' : button.dataset.pick;
      chosen.language = '';
      show();
    });
  }
  for (const key of ['language', 'layer']) {
    document.getElementById(key).addEventListener('change', event => {
      chosen[key] = event.target.value;
      if (key === 'language') chosen.family = '';
      show();
    });
  }
  document.getElementById('clear').addEventListener('click', clear);
  for (const row of document.querySelectorAll('tr[data-row]')) {
    row.addEventListener('click', () => {
      Object.assign(chosen, { family: '', language: chosen.language === row.dataset.row ? '' : row.dataset.row });
      show();
    });
  }

  /** Rows of many cells are drawn as a few paths: which cell is under the pointer follows from its place. */
  const cellUnder = (mark, x) => {
    const panel = mark.closest('[data-experts]');
    if (panel === null || mark.dataset.values === undefined) return '';
    const box = mark.ownerSVGElement.getBoundingClientRect();
    const at = ((x - box.left) * mark.ownerSVGElement.viewBox.baseVal.width) / box.width;
    const column = Math.floor((at - Number(panel.dataset.x)) / Number(panel.dataset.pitch));
    const expert = panel.dataset.experts.split(',')[column];
    if (expert === undefined) return '';
    const value = Number(mark.dataset.values.split(',')[column]) / 1000;
    return `expert ${expert}: ${value.toFixed(3)}\n`;
  };
  const tell = (mark, x, y) => {
    tip.textContent = cellUnder(mark, x) + mark.dataset.tip;
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 4))}px`;
    tip.style.top = `${y + 18 + height > innerHeight ? y - height - 10 : y + 18}px`;
  };
  const hush = () => {
    tip.hidden = true;
    for (const mark of document.querySelectorAll('svg .here')) mark.classList.remove('here');
  };
  for (const figure of document.querySelectorAll('figure')) {
    figure.addEventListener('pointermove', event => {
      const mark = event.target.closest('[data-tip]');
      if (mark) tell(mark, event.clientX, event.clientY);
      else tip.hidden = true;
    });
    figure.addEventListener('pointerleave', hush);
    figure.addEventListener('blur', hush);
    let at = -1;
    figure.addEventListener('keydown', event => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (step === undefined || event.target !== figure) return;
      const list = [...figure.querySelectorAll('[data-tip]:not(.dim)')];
      if (list.length === 0) return;
      event.preventDefault();
      hush();
      at = (at + step + list.length) % list.length;
      list[at].classList.add('here');
      list[at].scrollIntoView({ block: 'nearest', inline: 'nearest' });
      const box = list[at].getBoundingClientRect();
      tell(list[at], box.right, box.bottom);
      said.textContent = list[at].dataset.tip;
    });
  }
  document.addEventListener('keydown', event => {
    if (event.key !== 'Escape') return;
    hush();
    clear();
  });
  document.getElementById('controls').addEventListener('submit', event => event.preventDefault());
})();
