/* list.js: the jobs, newest first; older ones are loaded when their place comes into view. */
'use strict';

import { FINAL, byId, call, element, jobTitle, modelName, perplexityText, progressBar, progressText, tagList } from './page.js';

const LIST_SECONDS = 5;
const PAGE = 50;
/* What is asked for again every few seconds; older jobs are shown as they were when they were loaded. */
const FRESH = 100;

/* The event of the document that says: the list has changed. */
export const LISTED = 'listed';

/* jobs: id -> job, in the order of the list. */
export const list = { jobs: new Map(), cursor: null, timer: 0, current: null, loading: false, version: 0 };

function listItem(job) {
    const link = element('a', { href: '#/jobs/' + job.id });
    if (list.current === job.id) link.setAttribute('aria-current', 'true');
    const request = job.resolved || job.request || {};
    const what = [request.algorithm, request.bits && request.bits + ' bits', job.name ? modelName(job) : null].filter(Boolean).join(', ');
    link.append(
        element('div', { class: 'line' }, element('span', { class: 'name', text: jobTitle(job) }),
            element('span', { class: 'state', 'data-state': job.state, text: job.state })),
        element('div', { class: 'quiet', text: [what, perplexityText(job.result), new Date(job.created_at).toLocaleString()].filter(Boolean).join(' · ') }));
    const tags = tagList(job.tags);
    if (tags) link.append(tags);
    if (!FINAL.has(job.state) && job.progress && job.progress.total)
        link.append(progressBar(job.progress), element('div', { class: 'quiet', text: progressText(job.progress) }));
    return element('li', { 'data-id': job.id }, link);
}

function query(limit, cursor) {
    const asked = new URLSearchParams({ limit });
    for (const [name, id] of [['state', 'filter'], ['q', 'search']]) {
        const value = byId(id).value.trim();
        if (value) asked.set(name, value);
    }
    if (cursor) asked.set('cursor', cursor);
    return 'jobs?' + asked;
}

function showEnd() {
    byId('more').hidden = list.cursor === null;
    byId('list-note').textContent = list.jobs.size ? list.jobs.size + (list.cursor === null ? '' : ' newest') + (list.jobs.size === 1 ? ' job' : ' jobs')
        : byId('filter').value || byId('search').value ? 'No such jobs.' : 'No jobs yet.';
    document.dispatchEvent(new Event(LISTED));
}

/* The newest ones again: what is new goes on top, what has changed is drawn anew, what is gone goes. */
function takeFresh(found) {
    const box = byId('jobs');
    const focused = document.activeElement && document.activeElement.getAttribute('href');
    const last = found.has_more ? found.data[found.data.length - 1].id : '';
    const fresh = new Map(found.data.map((job) => [job.id, job]));
    for (const id of [...list.jobs.keys()])
        if (id >= last) list.jobs.delete(id);
    const older = list.jobs;
    list.jobs = new Map([...fresh, ...older]);
    for (const node of [...box.children]) if (node.dataset.id >= last) node.remove();
    box.prepend(...found.data.map(listItem));
    if (older.size === 0) list.cursor = found.has_more ? found.next_cursor : null;
    if (focused && focused.startsWith('#/jobs/')) {
        const again = box.querySelector('a[href="' + focused + '"]');
        if (again) again.focus({ preventScroll: true });
    }
    showEnd();
}

export async function loadOlder() {
    if (list.cursor === null || list.loading) return;
    const version = list.version;
    list.loading = true;
    try {
        const found = await call('GET', query(PAGE, list.cursor));
        if (version !== list.version) return;
        for (const job of found.data)
            if (!list.jobs.has(job.id)) {
                list.jobs.set(job.id, job);
                byId('jobs').append(listItem(job));
            }
        list.cursor = found.has_more ? found.next_cursor : null;
        showEnd();
    } catch (error) {
        byId('list-note').textContent = error.message;
    } finally {
        list.loading = false;
    }
}

/* Another question: the list begins anew. */
export function restartList() {
    list.version++;
    list.jobs = new Map();
    list.cursor = null;
    byId('jobs').replaceChildren();
    refreshList();
}

export async function refreshList() {
    clearTimeout(list.timer);
    const version = list.version;
    try {
        if (!document.hidden && byId('login').hidden) {
            const found = await call('GET', query(list.jobs.size > PAGE ? FRESH : PAGE));
            if (version === list.version) takeFresh(found);
            byId('service').textContent = 'connected';
        }
    } catch (error) {
        if (error.status !== 401) byId('service').textContent = 'not connected: ' + error.message;
    }
    clearTimeout(list.timer);
    list.timer = setTimeout(refreshList, LIST_SECONDS * 1000);
}

/* The button is there for those who cannot scroll to it. */
export function watchEnd() {
    byId('more').addEventListener('click', loadOlder);
    new IntersectionObserver((entries) => {
        if (entries.some((entry) => entry.isIntersecting)) loadOlder();
    }, { rootMargin: '400px' }).observe(byId('more'));
}
