/* page.js: what every part of the dashboard uses: elements, calls, words for numbers. Foreign text only ever becomes textContent. */
'use strict';

export const FINAL = new Set(['succeeded', 'failed', 'cancelled', 'quarantined']);

export const byId = (id) => document.getElementById(id);

/* element('a', {href: x, text: y}, child...) */
export function element(tag, properties = {}, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(properties)) {
        if (value === undefined || value === null) continue;
        if (key === 'text') node.textContent = value;
        else if (key === 'class') node.className = value;
        else node.setAttribute(key, value);
    }
    node.append(...children.filter((child) => child !== null));
    return node;
}

export class Problem extends Error {
    constructor(document, status) {
        super(document.detail || document.title || 'status ' + status);
        this.errors = document.errors || [];
        this.status = status;
    }
}

export async function call(method, path, body) {
    const options = { method, headers: { Accept: 'application/json' } };
    if (body !== undefined) {
        options.headers['Content-Type'] = 'application/json';
        options.body = JSON.stringify(body);
    }
    const reply = await fetch(path, options);
    if (reply.status === 204) return null;
    let value;
    try {
        value = await reply.json();
    } catch {
        value = {};
    }
    if (reply.status === 401) document.dispatchEvent(new Event('quantd-unauthorized'));
    if (!reply.ok) throw new Problem(value, reply.status);
    return value;
}

/* ---- words for numbers ---- */

export function digits(value, count = 4) {
    return typeof value === 'number' ? String(Number(value.toPrecision(count))) : '–';
}

export function bytes(value) {
    if (typeof value !== 'number') return '–';
    const units = ['B', 'kB', 'MB', 'GB', 'TB'];
    let at = 0;
    while (value >= 1000 && at < units.length - 1) {
        value /= 1000;
        at++;
    }
    return digits(value, 3) + ' ' + units[at];
}

export function duration(seconds) {
    if (typeof seconds !== 'number') return '–';
    if (seconds < 90) return digits(seconds, 2) + ' s';
    if (seconds < 5400) return Math.round(seconds / 60) + ' min';
    return digits(seconds / 3600, 2) + ' h';
}

export function modelName(job) {
    const model = job.request && job.request.model;
    const url = typeof model === 'string' ? model : (model && model.url) || '';
    return url.replace(/\/+$/, '').split('/').pop() || url;
}

export function jobTitle(job) {
    return job.name || modelName(job) || job.id;
}

/* null when there are none. */
export function tagList(tags) {
    const pairs = Object.entries(tags || {});
    return pairs.length ? element('div', { class: 'tags' }, ...pairs.map(([name, value]) => element('span', { text: value ? name + '=' + value : name }))) : null;
}

export function progressText(progress) {
    if (!progress || !progress.phase) return '';
    if (progress.waiting) return 'waiting for ' + progress.waiting;
    const amount = (value) => (progress.unit === 'bytes' ? bytes(value) : String(value) + ' ' + (progress.unit || ''));
    if (!progress.total) return progress.phase + (progress.done ? ': ' + amount(progress.done) : '');
    const range = typeof progress.eta_low === 'number' ? ' (' + duration(progress.eta_low) + ' to ' + duration(progress.eta_high) + ')' : '';
    const left = typeof progress.eta === 'number' ? ', ' + duration(progress.eta) + range + ' left' : '';
    return progress.phase + ': ' + (progress.unit === 'bytes' ? bytes(progress.done) : progress.done) + ' of ' + amount(progress.total) + left;
}

export function progressBar(progress) {
    const bar = element('progress', { 'aria-label': 'progress of the phase' });
    if (progress && progress.total) {
        bar.max = progress.total;
        bar.value = progress.done;
    }
    return bar;
}

export function perplexityText(result) {
    const p = result && result.perplexity;
    return p ? 'perplexity ' + digits(p.source) + ' → ' + digits(p.quantized) : '';
}
