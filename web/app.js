/* app.js: the dashboard. Everything it knows comes from the public API; foreign text only ever becomes textContent. */
'use strict';

const STATES = ['queued', 'downloading', 'quantizing', 'evaluating', 'exporting', 'verifying', 'succeeded', 'failed', 'cancelled', 'quarantined'];
const FINAL = new Set(['succeeded', 'failed', 'cancelled', 'quarantined']);
const STREAM_EVENTS = ['state', 'phase', 'progress', 'layer', 'stream', 'warning', 'problem', 'result', 'message'];
const LIST_SECONDS = 5;
const LAYERS_SECONDS = 3;
const PAGE = 20;

const byId = (id) => document.getElementById(id);

/* element('a', {href: x, text: y}, child...) */
function element(tag, properties = {}, ...children) {
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

class Problem extends Error {
    constructor(document, status) {
        super(document.detail || document.title || 'status ' + status);
        this.errors = document.errors || [];
        this.status = status;
    }
}

async function call(method, path, body) {
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
    if (!reply.ok) throw new Problem(value, reply.status);
    return value;
}

/* ---- words for numbers ---- */

function digits(value, count = 4) {
    return typeof value === 'number' ? String(Number(value.toPrecision(count))) : '–';
}

function bytes(value) {
    if (typeof value !== 'number') return '–';
    const units = ['B', 'kB', 'MB', 'GB', 'TB'];
    let at = 0;
    while (value >= 1000 && at < units.length - 1) {
        value /= 1000;
        at++;
    }
    return digits(value, 3) + ' ' + units[at];
}

function duration(seconds) {
    if (typeof seconds !== 'number') return '–';
    if (seconds < 90) return digits(seconds, 2) + ' s';
    if (seconds < 5400) return Math.round(seconds / 60) + ' min';
    return digits(seconds / 3600, 2) + ' h';
}

function modelName(job) {
    const model = job.request && job.request.model;
    const url = typeof model === 'string' ? model : (model && model.url) || '';
    return url.replace(/\/+$/, '').split('/').pop() || url;
}

function jobTitle(job) {
    return job.name || modelName(job) || job.id;
}

function progressText(progress) {
    if (!progress || !progress.phase) return '';
    const amount = (value) => (progress.unit === 'bytes' ? bytes(value) : String(value) + ' ' + (progress.unit || ''));
    if (!progress.total) return progress.phase + (progress.done ? ': ' + amount(progress.done) : '');
    const left = typeof progress.eta === 'number' ? ', ' + duration(progress.eta) + ' left' : '';
    return progress.phase + ': ' + (progress.unit === 'bytes' ? bytes(progress.done) : progress.done) + ' of ' + amount(progress.total) + left;
}

function progressBar(progress) {
    const bar = element('progress', { 'aria-label': 'progress of the phase' });
    if (progress && progress.total) {
        bar.max = progress.total;
        bar.value = progress.done;
    }
    return bar;
}

function perplexityText(result) {
    const p = result && result.perplexity;
    return p ? 'perplexity ' + digits(p.source) + ' → ' + digits(p.quantized) : '';
}

/* ---- the list ---- */

const list = { pages: 1, timer: 0 };

function listItem(job) {
    const link = element('a', { href: '#/jobs/' + job.id });
    if (view.id === job.id) link.setAttribute('aria-current', 'true');
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

async function refreshList() {
    clearTimeout(list.timer);
    try {
        if (!document.hidden) {
            await loadList();
            byId('service').textContent = 'connected';
        }
    } catch (error) {
        byId('service').textContent = 'not connected: ' + error.message;
    }
    clearTimeout(list.timer);
    list.timer = setTimeout(refreshList, LIST_SECONDS * 1000);
}

/* ---- one job, live ---- */

const view = { id: null, source: null, timer: 0, layersTimer: 0, last: 0, retry: 0, job: null, rows: new Map() };

function statistics(pairs) {
    return element('dl', {}, ...pairs.filter(([, value]) => value !== null).map(([name, value]) =>
        element('div', {}, element('dt', { text: name }), element('dd', { text: value }))));
}

function showResult(result) {
    const box = byId('job-result');
    if (!result) {
        box.replaceChildren();
        return;
    }
    const p = result.perplexity;
    box.replaceChildren(element('h3', { text: 'Result' }), statistics([
        ['Perplexity, source', p ? digits(p.source, 5) : 'not evaluated'],
        ['Perplexity, quantized', p ? digits(p.quantized, 5) : null],
        ['Perplexity, nearest', p && typeof p.rtn === 'number' ? digits(p.rtn, 5) : null],
        ['Bits a weight', digits(result.bits_per_weight)],
        ['Size', bytes(result.size)],
        ['Relative error', digits(result.relative_error, 3)],
        ['Certified layers', String(result.certified_layers)],
        ['Degraded layers', String(result.degraded_layers)],
        ['Peak memory', bytes(result.peak_memory)],
        ['Time', duration(Object.values(result.seconds || {}).reduce((a, b) => a + b, 0))],
    ]));
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

function showState(state) {
    const node = byId('job-state');
    if (node.textContent !== state) node.textContent = state;
    node.dataset.state = state;
}

function showJob(job) {
    view.job = job;
    byId('job').hidden = false;
    byId('job-title').textContent = jobTitle(job);
    document.title = jobTitle(job) + ' – quantd';
    showState(job.state);
    showProgress(job.state, job.progress);
    byId('job-problem').textContent = job.problem ? job.problem.detail || JSON.stringify(job.problem) : '';
    byId('job-request').textContent = JSON.stringify(job.resolved || job.request, null, 2);
    showResult(job.result);
    showActions(job);
}

async function loadJob() {
    const id = view.id;
    try {
        const job = await call('GET', 'jobs/' + id);
        if (view.id !== id) return;
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
    return [status.toLowerCase().replaceAll('_', ' '), status.startsWith('CERTIFIED') ? 'ok' : 'doubt'];
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

async function openJob(id) {
    unfollow();
    clearTimeout(view.layersTimer);
    Object.assign(view, { id, layersTimer: 0, last: 0, retry: 0, job: null, rows: new Map() });
    for (const part of ['layers', 'job-warnings', 'job-result', 'job-files', 'job-progress', 'job-actions']) byId(part).replaceChildren();
    byId('job-note').textContent = '';
    byId('job').hidden = id === null;
    document.title = 'quantd';
    if (id === null) return;
    byId('job').hidden = false;
    await loadJob();
    if (view.id !== id || view.job === null) return;
    byId('job-title').focus({ preventScroll: window.innerWidth >= 960 });
    follow();
}

function route() {
    const found = location.hash.match(/^#\/jobs\/([a-z0-9]{26})$/);
    openJob(found ? found[1] : null);
    for (const link of byId('jobs').querySelectorAll('a'))
        if (link.getAttribute('href') === location.hash) link.setAttribute('aria-current', 'true');
        else link.removeAttribute('aria-current');
}

/* ---- the form, drawn from the schema ---- */

const CATALOGUE_OF = {
    '/algorithm': 'algorithms', '/alphabet/kind': 'alphabets', '/scale/rule': 'scale_rules', '/scale/type': 'scale_types',
    '/order': 'orders', '/format': 'formats',
};
const OPEN_FIRST = ['model', 'name', 'algorithm', 'bits', 'group_size', 'format'];
const form = { fields: [], catalogue: {} };

/* What the catalogue says of a choice; "gptq" and "safetensors:bf16" find their rows too. */
function describeChoice(pointer, choice) {
    const rows = form.catalogue[CATALOGUE_OF[pointer]] || [];
    const row = rows.find((r) => r.name === String(choice).split(':')[0] || r.alias === choice);
    return row ? [row.summary, row.constraints].filter(Boolean).join('; holds ') : '';
}

/* Of several shapes the richest one is drawn. */
function richest(schema) {
    if (!schema.oneOf) return schema;
    return schema.oneOf.find((option) => option.type === 'object') || schema.oneOf[0];
}

function typesOf(schema) {
    return [].concat(schema.type || []);
}

function defaultText(schema) {
    if (schema.default === undefined) return '';
    if (schema.default === null) return 'none';
    return typeof schema.default === 'object' ? JSON.stringify(schema.default) : String(schema.default);
}

function selectFor(values, schema, id) {
    const select = element('select', { id });
    const fallback = defaultText(schema);
    select.append(element('option', { value: '', text: fallback ? 'default: ' + fallback : 'default' }));
    for (const value of values) select.append(element('option', { value: JSON.stringify(value), text: value === null ? 'none' : String(value) }));
    return [select, () => (select.value === '' ? undefined : JSON.parse(select.value))];
}

function numberFor(schema, id, types) {
    const whole = types.includes('integer');
    const input = element('input', { id, type: 'number', inputmode: whole ? 'numeric' : 'decimal', step: whole ? '1' : 'any', min: schema.minimum,
        max: schema.maximum, placeholder: defaultText(schema) });
    return [input, () => (input.value === '' ? undefined : Number(input.value))];
}

/* KEY=VALUE, one a line. */
function mapFor(schema, id) {
    const area = element('textarea', { id, rows: '2', placeholder: 'key=value, one a line' });
    return [area, () => {
        const pairs = area.value.split('\n').map((line) => line.trim()).filter(Boolean).map((line) => {
            const at = line.indexOf('=');
            return at < 0 ? [line, ''] : [line.slice(0, at).trim(), line.slice(at + 1).trim()];
        });
        return pairs.length ? Object.fromEntries(pairs) : undefined;
    }];
}

/* Numbers with spaces or commas between them. */
function numbersFor(schema, id) {
    const input = element('input', { id, type: 'text', placeholder: 'numbers, ascending', autocomplete: 'off', spellcheck: 'false' });
    return [input, () => {
        const numbers = input.value.split(/[\s,]+/).filter(Boolean);
        return numbers.length ? numbers.map((text) => (Number.isNaN(Number(text)) ? text : Number(text))) : undefined;
    }];
}

function textFor(schema, id) {
    const input = element('input', { id, type: schema.writeOnly ? 'password' : 'text', maxlength: schema.maxLength, placeholder: defaultText(schema),
        autocomplete: 'off', spellcheck: 'false' });
    return [input, () => (input.value === '' ? undefined : input.value)];
}

function controlFor(schema, id) {
    const types = typesOf(schema);
    if (schema.enum) return selectFor(schema.enum, schema, id);
    if (types.includes('boolean')) return selectFor([true, false], schema, id);
    if (types.includes('integer') || types.includes('number')) return numberFor(schema, id, types);
    if (types.includes('object')) return mapFor(schema, id);
    if (types.includes('array')) return numbersFor(schema, id);
    return textFor(schema, id);
}

function drawField(name, schema, pointer, required) {
    const id = 'field' + pointer.replaceAll('/', '-');
    const [control, read] = controlFor(schema, id);
    const hint = element('p', { class: 'hint', id: id + '-hint' });
    const error = element('p', { class: 'error', id: id + '-error' });
    control.setAttribute('aria-describedby', hint.id + ' ' + error.id);
    if (required) control.setAttribute('aria-required', 'true');
    const describe = () => {
        const choice = read() === undefined ? schema.default : read();
        hint.textContent = [schema.description, schema['x-unit'] && 'in ' + schema['x-unit'], describeChoice(pointer, choice)].filter(Boolean).join(' · ');
    };
    control.addEventListener('input', () => {
        describe();
        preview();
    });
    describe();
    form.fields.push({ pointer, control, read, error });
    return element('div', { class: 'field' }, element('label', { for: id, text: name.replaceAll('_', ' ') + (required ? ' (required)' : '') }), control, hint, error);
}

function drawObject(schema, pointer) {
    const required = new Set(schema.required || []);
    return Object.entries(schema.properties || {}).map(([name, child]) => drawNode(name, child, pointer + '/' + name, required.has(name)));
}

function drawNode(name, node, pointer, required) {
    const schema = richest(node);
    if (!schema.properties) return drawField(name, schema, pointer, required);
    const title = name.replaceAll('_', ' ');
    const summary = element('summary', { text: title + (schema.description || node.description ? ' – ' + (node.description || schema.description) : '') });
    if (!required) return element('details', {}, summary, element('fieldset', {}, element('legend', { text: title }), ...drawObject(schema, pointer)));
    /* A part that must be there shows what it must have; the rest of it is folded away. */
    const must = new Set(schema.required || []);
    const drawn = Object.entries(schema.properties).map(([child, part]) => [must.has(child), drawNode(child, part, pointer + '/' + child, must.has(child))]);
    return element('fieldset', {}, element('legend', { text: title }), ...drawn.filter(([first]) => first).map(([, field]) => field),
        element('details', {}, element('summary', { text: 'More of the ' + title }), ...drawn.filter(([first]) => !first).map(([, field]) => field)));
}

function drawForm(schema) {
    const required = new Set(schema.required || []);
    const drawn = Object.keys(schema.properties).map((name) => [name, drawNode(name, schema.properties[name], '/' + name, required.has(name))]);
    const order = (name) => (OPEN_FIRST.includes(name) ? OPEN_FIRST.indexOf(name) : OPEN_FIRST.length);
    const open = drawn.filter(([name]) => OPEN_FIRST.includes(name)).sort(([a], [b]) => order(a) - order(b));
    const rest = drawn.filter(([name]) => !OPEN_FIRST.includes(name));
    byId('fields').replaceChildren(...open.map(([, node]) => node),
        element('details', {}, element('summary', { text: 'All other fields' }), ...rest.map(([, node]) => node)));
    preview();
}

function readForm() {
    const request = {};
    for (const field of form.fields) {
        const value = field.read();
        if (value === undefined) continue;
        const path = field.pointer.split('/').slice(1);
        const last = path.pop();
        let at = request;
        for (const name of path) at = at[name] = at[name] || {};
        at[last] = value;
    }
    return request;
}

function preview() {
    const request = readForm();
    if (request.model && request.model.token) request.model.token = '…';
    byId('preview').textContent = JSON.stringify(request, null, 2);
}

/* Findings go to their field, or to the nearest one above; the rest stays in the note. */
function showErrors(problem) {
    const left = [];
    let first = null;
    for (const finding of problem.errors) {
        const field = form.fields.find((f) => f.pointer === finding.pointer || f.pointer.startsWith(finding.pointer + '/'));
        if (!field) {
            left.push(finding.detail);
            continue;
        }
        field.error.textContent = finding.detail;
        field.control.setAttribute('aria-invalid', 'true');
        for (let node = field.control.parentElement; node; node = node.parentElement) if (node.tagName === 'DETAILS') node.open = true;
        first = first || field.control;
    }
    byId('form-note').textContent = problem.errors.length ? left.join('\n') : problem.message;
    if (first) first.focus();
}

function clearErrors() {
    byId('form-note').textContent = '';
    for (const field of form.fields) {
        field.error.textContent = '';
        field.control.removeAttribute('aria-invalid');
    }
}

async function submit(event) {
    event.preventDefault();
    const button = byId('form').querySelector('button[type=submit]');
    clearErrors();
    button.disabled = true;
    try {
        const job = await call('POST', 'jobs', readForm());
        byId('new').open = false;
        location.hash = '#/jobs/' + job.id;
        refreshList();
    } catch (error) {
        if (error instanceof Problem) showErrors(error);
        else byId('form-note').textContent = error.message;
    } finally {
        button.disabled = false;
    }
}

async function prepareForm() {
    try {
        const [schema, catalogue] = await Promise.all([call('GET', 'schema/job.json'), call('GET', 'catalog')]);
        form.catalogue = catalogue;
        form.fields = [];
        drawForm(schema);
    } catch (error) {
        byId('form-note').textContent = 'The form could not be drawn: ' + error.message;
    }
}

/* ---- start ---- */

for (const state of STATES) byId('filter').append(element('option', { value: state, text: state }));
byId('filter').addEventListener('change', () => {
    list.pages = 1;
    refreshList();
});
byId('more').addEventListener('click', () => {
    list.pages++;
    refreshList();
});
byId('form').addEventListener('submit', submit);
document.addEventListener('visibilitychange', () => {
    if (!document.hidden) refreshList();
});
window.addEventListener('hashchange', route);
prepareForm();
route();
refreshList();
