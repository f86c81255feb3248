/* compare.js: how far one job's artifact is from another's, where both were measured alike. */
'use strict';

import { LISTED, list } from './list.js';
import { byId, call, digits, element, jobTitle } from './page.js';

function withError(value, error) {
    return digits(value, 3) + ' ± ' + digits(error, 2);
}

/* One row a text; a difference below two of its errors may be chance. */
function differenceRow(row) {
    const chance = Math.abs(row.mean_nll) <= 2 * row.standard_error;
    return element('tr', {}, element('td', { text: row.text }), element('td', { text: digits(row.perplexity_ratio, 5) }),
        element('td', { text: withError(row.mean_nll, row.standard_error) }), element('td', { text: withError(row.kl, row.kl_standard_error) }),
        element('td', { class: chance ? 'doubt' : 'ok', text: chance ? 'may be chance' : 'more than chance' }));
}

function show(found) {
    const { comparable, reasons, differences } = found.evaluation;
    const parts = [];
    if (!comparable) parts.push(element('p', { class: 'doubt', text: 'Not comparable: the jobs were not measured alike.' }));
    for (const reason of reasons) parts.push(element('p', { class: 'quiet', text: reason }));
    if (differences.length) {
        const head = ['Text', 'Perplexity, times', 'Loss, nats a token', 'KL, nats a token', ''].map((text) => element('th', { scope: 'col', text }));
        parts.push(element('table', {}, element('thead', {}, element('tr', {}, ...head)), element('tbody', {}, ...differences.map(differenceRow))));
    }
    byId('compare-result').replaceChildren(...parts);
}

/* The choice as it stands on the page: whose it is, and what it offers. */
const choice = { job: null, select: null, offered: null };

/* The finished jobs that the list knows of; what was chosen stays chosen, and what is shown of it stays. */
function offer() {
    const others = [...list.jobs.values()].filter((other) => other.id !== choice.job && other.result && other.result.perplexity);
    const offered = others.map((other) => other.id).join(' ');
    if (offered === choice.offered) return;
    choice.offered = offered;
    const chosen = choice.select.value;
    choice.select.replaceChildren(element('option', { value: '', text: 'no job' }),
        ...others.map((other) => element('option', { value: other.id, text: jobTitle(other) + ' – ' + new Date(other.created_at).toLocaleString() })));
    choice.select.value = others.some((other) => other.id === chosen) ? chosen : '';
    byId('job-compare').hidden = others.length === 0;
}

async function compare() {
    const { job, select } = choice, other = select.value;
    byId('compare-result').replaceChildren();
    if (!other) return;
    const current = () => choice.job === job && select.value === other;
    try {
        const found = await call('GET', 'compare?jobs=' + other + ',' + job);
        if (current()) show(found);
    } catch (error) {
        if (current()) byId('compare-result').replaceChildren(element('p', { class: 'doubt', text: error.message }));
    }
}

/* This job as it is beside the one that is chosen; drawn once a job, the list fills it in as it comes. */
export function drawCompare(job) {
    const measured = job.result && job.result.perplexity ? job.id : null;
    if (measured === choice.job) return;
    choice.job = measured;
    choice.offered = null;
    byId('job-compare').replaceChildren();
    if (!measured) return;
    choice.select = element('select', { id: 'compare-with' });
    choice.select.addEventListener('change', compare);
    byId('job-compare').append(element('div', { class: 'bar' }, element('label', { for: 'compare-with', text: 'How much more is lost than by ' }), choice.select),
        element('div', { id: 'compare-result', role: 'status' }));
    offer();
}

document.addEventListener(LISTED, () => {
    if (choice.job) offer();
});
