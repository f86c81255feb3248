/* job.js: one job, live. */
'use strict';

import { clearExperts, noteExpert } from './experts.js';
import { drawCompare } from './compare.js';
import { list, refreshList } from './list.js';
import { FINAL, byId, bytes, call, digits, duration, element, jobTitle, progressBar, progressText, tagList } from './page.js';

const STREAM_EVENTS = ['state', 'phase', 'progress', 'layer', 'stream', 'warning', 'problem', 'result', 'message'];
const LAYERS_SECONDS = 3;

const view = { id: null, turn: 0, source: null, timer: 0, layersTimer: 0, lifeTimer: 0, last: 0, heard: 0, retry: 0, job: null, rows: new Map() };

function statistics(pairs) {
    return element('dl', {}, ...pairs.filter(([, value]) => value !== null).map(([name, value]) =>
        element('div', {}, element('dt', { text: name }), element('dd', { text: value }))));
}

/* KL with what it may be off by. */
function divergence(kl) {
    return kl ? digits(kl.mean, 4) + ' ± ' + digits(kl.standard_error, 2) + ', 99 % of tokens up to ' + digits(kl.p99, 3) : null;
}

/* What was read, what was left out and why: nothing is cut away in silence. */
function calibrationText(c) {
    if (!c) return null;
    if (c.origin === 'self') return c.samples + ' × ' + c.length + ' tokens that the source model sampled itself';
    const drops = c.tokens_dropped || {};
    const dropped = [[drops.too_short, 'in documents too short'], [drops.left_over, 'left over'], [drops.unused, 'more than was asked for']]
        .filter(([count]) => count > 0).map(([count, why]) => count.toLocaleString() + ' ' + why);
    const documents = c.documents && c.documents.read > 1 ? ' of ' + c.documents.read.toLocaleString() + ' documents, ' + c.documents.policy : '';
    return c.samples + ' × ' + c.length + ' tokens; ' + c.tokens_used.toLocaleString() + ' of ' + c.tokens_available.toLocaleString() + documents +
        (dropped.length ? '; not used: ' + dropped.join(', ') : '');
}

/* What the job asked of its artifact, where it asked. */
function gateText(gate) {
    const asked = [gate && typeof gate.perplexity_ratio === 'number' && 'perplexity ratio at most ' + gate.perplexity_ratio,
        gate && typeof gate.kl === 'number' && 'KL at most ' + gate.kl].filter(Boolean);
    return asked.length ? asked.join(', ') + (gate.every_text ? ', on every text' : '') : null;
}

/* One row a container, where there are several. */
function formatTable(formats) {
    if (!formats || formats.length < 2) return [];
    const head = ['Format', 'Bits a weight', 'Size', 'Perplexity', 'KL'].map((text) => element('th', { scope: 'col', text }));
    const rows = formats.map((one) => element('tr', {}, element('td', { text: one.format }), element('td', { text: digits(one.bits_per_weight) }),
        element('td', { text: bytes(one.size) }), element('td', { text: one.perplexity === null ? '–' : digits(one.perplexity, 5) }),
        element('td', { text: one.kl ? digits(one.kl.mean, 4) : '–' })));
    return [element('table', { class: 'formats' }, element('thead', {}, element('tr', {}, ...head)), element('tbody', {}, ...rows))];
}

/* A value with one standard error; accuracies and perplexities alike. */
function figureText(figure) {
    if (!figure || figure.value === null) return '–';
    return digits(figure.value, 4) + (figure.standard_error === null ? '' : ' ± ' + digits(figure.standard_error, 2));
}

/* One row a metric of a zero-shot task. */
function taskTable(tasks) {
    if (!tasks || !tasks.length) return [];
    const head = ['Task', 'Metric', 'Source', 'Quantized', 'Difference, paired', 'Nearest', 'Examples'].map((text) => element('th', { scope: 'col', text }));
    const rows = tasks.flatMap((one) => Object.entries(one.metrics).map(([metric, figures]) => element('tr', {},
        ...[one.task, metric, figureText(figures.source), figureText(figures.quantized), figureText(figures.difference), figureText(figures.rtn),
            String(one.examples)].map((text) => element('td', { text })))));
    return [element('table', { class: 'tasks' }, element('thead', {}, element('tr', {}, ...head)), element('tbody', {}, ...rows))];
}

/* How much more is lost, with an error that is paired by window. */
function differenceText(difference) {
    return difference && typeof difference.mean === 'number' ? digits(difference.mean, 3) + ' ± ' + digits(difference.standard_error, 2) : null;
}

/* The protocol in numbers. */
function protocolText(evaluation) {
    return evaluation ? evaluation.protocol + ': windows of ' + evaluation.length + ', ' + evaluation.stride + ' apart, scored from token ' + evaluation.context : null;
}

/* One row a text, where there are several. */
function textTable(texts) {
    if (!texts || texts.length < 2) return [];
    const head = ['Text', 'Source', 'Quantized', 'Nearest', 'Loss over the source', 'KL', 'Same token'].map((text) => element('th', { scope: 'col', text }));
    const rows = texts.map(({ name, perplexity: p, kl }) => element('tr', {}, element('td', { text: name }), element('td', { text: digits(p.source, 5) }),
        element('td', { text: digits(p.quantized, 5) }), element('td', { text: typeof p.rtn === 'number' ? digits(p.rtn, 5) : '–' }),
        element('td', { text: differenceText(p.difference.source) || '–' }), element('td', { text: digits(kl.quantized.mean, 4) }),
        element('td', { text: digits(100 * kl.quantized.same_top, 4) + ' %' })));
    return [element('table', { class: 'texts' }, element('thead', {}, element('tr', {}, ...head)), element('tbody', {}, ...rows))];
}

/* What a run took, and what it was said to take. */
function forecastText(forecast, outcome) {
    const took = outcome && typeof outcome.seconds === 'number' ? duration(outcome.seconds) + ', ' : '';
    return took + 'forecast ' + duration(forecast.seconds) + ' (' + duration(forecast.low) + ' to ' + duration(forecast.high) + ')';
}

function showResult(result, gate) {
    const box = byId('job-result');
    if (!result) {
        box.replaceChildren();
        return;
    }
    const p = result.perplexity;
    const kl = result.kl || {};
    const forecast = result.forecast;
    box.replaceChildren(element('h3', { text: 'Result' }), statistics([
        ['Source', result.source ? result.source.quantized + ', dequantized' : null],
        ['Data-free', result.data_free],
        ['Perplexity, source', p ? digits(p.source, 5) + (p.origin === 'self' ? ', on its own words' : '') : 'not evaluated'],
        ['Perplexity, quantized', p ? digits(p.quantized, 5) : null],
        ['Perplexity, nearest', p && typeof p.rtn === 'number' ? digits(p.rtn, 5) : null],
        ['Loss over the source, nats a token', p ? differenceText(p.difference && p.difference.source) : null],
        ['Loss over nearest', p ? differenceText(p.difference && p.difference.rtn) : null],
        ['KL from the source, nats a token', divergence(kl.quantized)],
        ['KL, nearest', kl.rtn ? digits(kl.rtn.mean, 4) : null],
        ['Same likeliest token', kl.quantized ? digits(100 * kl.quantized.same_top, 4) + ' ± ' + digits(100 * kl.quantized.same_top_error, 2) + ' %' : null],
        ['Measured by', protocolText(result.evaluation)],
        ['Gate, met', gateText(gate)],
        ['Calibration', calibrationText(result.calibration)],
        ['Calibrated in', result.arithmetic],
        ['Held out', result.calibration && result.calibration.held_out ? result.calibration.held_out.sequences + ' sequences' : null],
        ['Bits a weight', digits(result.bits_per_weight)],
        ['Size', bytes(result.size)],
        ['Relative error', digits(result.relative_error, 3)],
        ['Certified layers', String(result.certified_layers)],
        ['Degraded layers', String(result.degraded_layers)],
        ['Starved experts', result.experts ? result.experts.starved + ' of ' + result.experts.count : null],
        ['Peak memory', bytes(result.peak_memory) + (forecast ? ', forecast ' + bytes(forecast.peak_memory) : '')],
        ['Time', duration(Object.values(result.seconds || {}).reduce((a, b) => a + b, 0))],
        ['Of it the run, beside its forecast', forecast ? forecastText(forecast, result.outcome) : null],
    ]), ...textTable(result.texts), ...taskTable(result.tasks), ...formatTable(result.formats));
}

async function showFiles(job) {
    const box = byId('job-files');
    if (!job.links.artifacts) {
        box.replaceChildren();
        return;
    }
    const manifest = await call('GET', job.links.artifacts.slice(1));
    if (view.id !== job.id) return;
    const files = manifest.files.map((file) => {
        const path = file.path.split('/').map(encodeURIComponent).join('/');
        return element('li', {}, element('a', { href: job.links.artifacts.slice(1) + '/' + path, title: 'SHA-256 ' + file.sha256, text: file.path }),
            element('span', { class: 'quiet', text: bytes(file.size) }));
    });
    for (const name of ['manifest.json', manifest.provenance].filter(Boolean))
        files.push(element('li', {}, element('a', { href: job.links.artifacts.slice(1) + '/' + name, text: name })));
    box.replaceChildren(element('h3', { text: 'Artifact' }), element('ul', { class: 'files' }, ...files));
}

function actionButton(label, act) {
    const button = element('button', { type: 'button', text: label });
    button.addEventListener('click', async () => {
        button.disabled = true;
        try {
            await act();
        } catch (error) {
            byId('job-note').textContent = error.message;
            button.disabled = false;
        }
    });
    return button;
}

function showActions(job) {
    const actions = [element('a', { href: 'jobs/' + job.id + '/log', text: 'log' })];
    if (job.links.certificate) actions.push(element('a', { href: job.links.certificate.slice(1), text: 'certificate' }));
    if (job.links.cancel)
        actions.push(actionButton('Cancel', () => call('POST', 'jobs/' + job.id + '/cancel').then(loadJob)));
    if (job.links.retry)
        actions.push(actionButton('Retry', async () => {
            await call('POST', 'jobs/' + job.id + '/retry');
            await loadJob();
            follow();
        }));
    if (FINAL.has(job.state))
        actions.push(actionButton('Delete', async () => {
            if (!confirm('Delete this job and its files?')) return;
            await call('DELETE', 'jobs/' + job.id);
            location.hash = '#/';
            refreshList();
        }));
    byId('job-actions').replaceChildren(...actions);
}

function showProgress(state, progress) {
    const running = !FINAL.has(state) && state !== 'queued';
    byId('job-progress').replaceChildren(...(running ? [progressBar(progress), element('p', { class: 'quiet', text: progressText(progress) || state })] : []));
}

/* What does not change while it runs, or seldom. */
function showFacts(job) {
    const seconds = job.finished_at && job.started_at ? (Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000 : null;
    const facts = [job.owner && 'of ' + job.owner, 'priority ' + job.priority, 'created ' + new Date(job.created_at).toLocaleString(),
        seconds === null ? null : 'took ' + duration(seconds),
        job.forecast && !FINAL.has(job.state) ? forecastText({ ...job.forecast.seconds, seconds: job.forecast.seconds.total }) : null, job.attempt > 1 ? 'attempt ' + job.attempt : null,
        job.resumed ? 'resumed ' + job.resumed + (job.resumed === 1 ? ' time' : ' times') : null].filter(Boolean);
    const tags = tagList(job.tags);
    byId('job-facts').replaceChildren(facts.join(' · '), ...(tags ? [tags] : []));
}

/* How long ago the run last said something: a silence is seen before anything else is. */
function showLife() {
    const alive = view.job && !FINAL.has(byId('job-state').dataset.state) && view.heard > 0;
    byId('job-life').textContent = alive ? 'last sign of life ' + duration(Math.max(0, Math.round((Date.now() - view.heard) / 1000))) + ' ago' : '';
}

/* A finding of the service names the field that it is about. */
function problemText(problem) {
    const errors = (problem.errors || []).map((error) => (error.pointer ? error.pointer + ': ' : '') + error.detail);
    const place = [problem.phase && 'while ' + problem.phase, problem.layer && 'layer ' + problem.layer, problem.pointer].filter(Boolean).join(', ');
    return (problem.detail || JSON.stringify(problem)) + (place ? ' (' + place + ')' : '') + (errors.length ? '\n' + errors.join('\n') : '');
}

function showState(state) {
    const node = byId('job-state');
    if (node.textContent !== state) node.textContent = state;
    node.dataset.state = state;
    showLife();
}

function showJob(job) {
    view.job = job;
    byId('job').hidden = false;
    byId('job-title').textContent = jobTitle(job);
    document.title = jobTitle(job) + ' – quantd';
    showState(job.state);
    showProgress(job.state, job.progress);
    const reason = job.problem ? problemText(job.problem) : '';
    showFacts(job);
    byId('job-problem').textContent = job.state === 'quarantined' ? 'Quarantined, not served: ' + reason : reason;
    byId('job-request').textContent = JSON.stringify(job.resolved || job.request, null, 2);
    showResult(job.result, (job.resolved || job.request).gate);
    drawCompare(job);
    showActions(job);
}

/* Several may be under way, and an answer may be overtaken by a newer one: the one that was asked for last is shown. */
async function loadJob() {
    const id = view.id, turn = ++view.turn;
    try {
        const job = await call('GET', 'jobs/' + id);
        if (view.id !== id || view.turn !== turn) return;
        showJob(job);
        await showFiles(job);
    } catch (error) {
        if (view.id === id) byId('job-note').textContent = error.message;
        if (error.status === 404) unfollow();
    }
}

function layerStatus(layer) {
    if (layer.degraded) return [layer.degraded_reason ? 'degraded: ' + layer.degraded_reason : 'degraded', 'doubt'];
    const status = (layer.certificate && layer.certificate.status) || layer.status || 'no certificate';
    const starved = layer.routing && layer.routing.starved ? ', starved expert: ' + layer.routing.fallback + ' statistics' : '';
    return [status.toLowerCase().replaceAll('_', ' ') + starved, status.startsWith('CERTIFIED') ? 'ok' : 'doubt'];
}

/* A layer made again replaces its row. */
function showLayer(layer) {
    const certificate = layer.certificate || {};
    const [word, kind] = layerStatus(layer);
    const gap = typeof certificate.gap_db === 'number' ? digits(certificate.gap_db, 3) + ' dB' : '–';
    const row = element('tr', {}, element('td', { text: layer.name }), element('td', { text: (layer.shape || []).join(' × ') }),
        element('td', { text: digits(layer.bits) }), element('td', { text: digits(layer.error && layer.error.calibration, 3) }),
        element('td', { text: gap }), element('td', { class: kind, text: word }), element('td', { text: digits(layer.seconds, 2) }));
    const old = view.rows.get(layer.name);
    if (old) old.replaceWith(row);
    else byId('layers').append(row);
    view.rows.set(layer.name, row);
    noteExpert(layer.routing);
}

/* Events carry a layer in short; its certificate comes with the list, which is asked for now and then, and at the end. */
async function loadLayers() {
    const id = view.id;
    clearTimeout(view.layersTimer);
    view.layersTimer = 0;
    try {
        const found = await call('GET', 'jobs/' + id + '/layers');
        if (view.id === id) found.data.forEach(showLayer);
    } catch {
        /* the next event asks again */
    }
}

function layersSoon() {
    if (!view.layersTimer) view.layersTimer = setTimeout(loadLayers, LAYERS_SECONDS * 1000);
}

const onEvent = {
    state(data) {
        showState(data.state || view.job.state);
        loadJob();
        refreshList();
    },
    phase(data) {
        if (data.phase) showState(data.phase);
    },
    progress(data) {
        showProgress(byId('job-state').dataset.state, data);
    },
    layer(data) {
        if (!view.rows.has(data.name)) showLayer(data);
        layersSoon();
    },
    warning(data) {
        const text = data.detail || JSON.stringify(data);
        byId('job-warnings').append(element('p', { class: 'doubt', text }));
    },
    problem: () => loadJob(),
    result: (data) => showResult(data),
};

function unfollow() {
    clearTimeout(view.timer);
    if (view.source) view.source.close();
    view.source = null;
}

/* The browser reconnects by itself, with Last-Event-ID, until a reply is no stream; then we do, from the last id we saw. */
function follow() {
    unfollow();
    const source = new EventSource('jobs/' + view.id + '/events?after=' + view.last);
    view.source = source;
    source.addEventListener('open', () => {
        view.retry = 0;
        byId('job-note').textContent = '';
    });
    for (const type of STREAM_EVENTS)
        source.addEventListener(type, (message) => {
            view.last = Number(message.lastEventId) || view.last;
            const event = JSON.parse(message.data);
            view.heard = Math.max(view.heard, Date.parse(event.time) || 0);
            showLife();
            if (onEvent[event.type]) onEvent[event.type](event.data || {});
        });
    source.addEventListener('end', () => {
        unfollow();
        loadJob();
        loadLayers();
        refreshList();
    });
    source.addEventListener('error', () => {
        byId('job-note').textContent = 'connection lost, trying again';
        if (source.readyState !== EventSource.CLOSED || view.source !== source) return;
        view.retry = Math.min(view.retry + 1, 6);
        view.timer = setTimeout(follow, 1000 * 2 ** view.retry);
    });
}

export async function openJob(id) {
    list.current = id;
    unfollow();
    clearTimeout(view.layersTimer);
    clearInterval(view.lifeTimer);
    Object.assign(view, { id, layersTimer: 0, lifeTimer: 0, last: 0, heard: 0, retry: 0, job: null, rows: new Map() });
    for (const part of ['layers', 'job-warnings', 'job-result', 'job-files', 'job-progress', 'job-actions', 'job-facts', 'job-life']) byId(part).replaceChildren();
    clearExperts();
    drawCompare({ id, result: null }); // the same job, opened again, is drawn again
    byId('job-note').textContent = '';
    byId('job').hidden = id === null;
    document.title = 'quantd';
    if (id === null) return;
    byId('job').hidden = false;
    await loadJob();
    if (view.id !== id || view.job === null) return;
    view.lifeTimer = setInterval(showLife, 1000);
    byId('job-title').focus({ preventScroll: window.innerWidth >= 960 });
    follow();
}
