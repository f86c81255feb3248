/* list.js: the jobs, newest first. */
'use strict';

import { FINAL, byId, call, element, jobTitle, modelName, perplexityText, progressBar, progressText } from './page.js';

const LIST_SECONDS = 5;
const PAGE = 20;

export const list = { pages: 1, timer: 0, current: null };

function listItem(job) {
    const link = element('a', { href: '#/jobs/' + job.id });
    if (list.current === job.id) link.setAttribute('aria-current', 'true');
    const request = job.resolved || job.request || {};
    const what = [request.algorithm, request.bits && request.bits + ' bits', job.name ? modelName(job) : null].filter(Boolean).join(', ');
    link.append(
        element('div', { class: 'line' }, element('span', { class: 'name', text: jobTitle(job) }),
            element('span', { class: 'state', 'data-state': job.state, text: job.state })),
        element('div', { class: 'quiet', text: [what, perplexityText(job.result), new Date(job.created_at).toLocaleString()].filter(Boolean).join(' · ') }));
    if (!FINAL.has(job.state) && job.progress && job.progress.total)
        link.append(progressBar(job.progress), element('div', { class: 'quiet', text: progressText(job.progress) }));
    return element('li', {}, link);
}

async function loadList() {
    const jobs = [];
    let cursor = '', more = false;
    for (let page = 0; page < list.pages; page++) {
        const state = byId('filter').value;
        const found = await call('GET', 'jobs?limit=' + PAGE + (state ? '&state=' + state : '') + cursor);
        jobs.push(...found.data);
        more = found.has_more;
        if (!more) break;
        cursor = '&cursor=' + found.next_cursor;
    }
    const focused = document.activeElement && document.activeElement.getAttribute('href');
    byId('jobs').replaceChildren(...jobs.map(listItem));
    if (focused && focused.startsWith('#/jobs/')) {
        const again = byId('jobs').querySelector('a[href="' + focused + '"]');
        if (again) again.focus();
    }
    byId('more').hidden = !more;
    byId('list-note').textContent = jobs.length ? '' : 'No jobs yet.';
}

export async function refreshList() {
    clearTimeout(list.timer);
    try {
        if (!document.hidden && byId('login').hidden) {
            await loadList();
            byId('service').textContent = 'connected';
        }
    } catch (error) {
        if (error.status !== 401) byId('service').textContent = 'not connected: ' + error.message;
    }
    clearTimeout(list.timer);
    list.timer = setTimeout(refreshList, LIST_SECONDS * 1000);
}
