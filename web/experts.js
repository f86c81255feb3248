/* experts.js: which experts a job's tokens go to: one row a block, one cell an expert, the darker the more. */
'use strict';

import { byId, element } from './page.js';

const SHADES = 8;

/* block -> expert -> {tokens, starved, fallback} */
const blocks = new Map();
let later = 0;

export function clearExperts() {
    clearTimeout(later);
    later = 0;
    blocks.clear();
    byId('experts').replaceChildren();
    byId('experts-box').hidden = true;
}

function cell(block, number, expert, most) {
    const words = 'block ' + block + ', expert ' + number + ': ' + expert.tokens + ' tokens' + (expert.starved ? ', starved: ' + expert.fallback : '');
    const shade = most > 0 ? Math.ceil((SHADES - 1) * expert.tokens / most) : 0;
    return element('td', { 'data-shade': String(shade), class: expert.starved ? 'starved' : null, title: words, text: String(expert.tokens) });
}

function draw() {
    later = 0;
    const rows = [...blocks.entries()].sort((a, b) => a[0] - b[0]).map(([block, experts]) => {
        const most = Math.max(...[...experts.values()].map((expert) => expert.tokens));
        const cells = [...experts.entries()].sort((a, b) => a[0] - b[0]).map(([number, expert]) => cell(block, number, expert, most));
        return element('tr', {}, element('th', { scope: 'row', text: 'block ' + block }), ...cells);
    });
    byId('experts').replaceChildren(...rows);
    byId('experts-box').hidden = rows.length === 0;
}

/* What a layer says of its expert; all layers of an expert say the same. */
export function noteExpert(routing) {
    if (!routing) return;
    if (!blocks.has(routing.block)) blocks.set(routing.block, new Map());
    blocks.get(routing.block).set(routing.expert, routing);
    if (!later) later = setTimeout(draw, 200);
}
