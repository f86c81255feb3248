/* form.js: the form of a new job, drawn from the schema. */
'use strict';

import { refreshList } from './list.js';
import { Problem, byId, bytes, call, digits, duration, element } from './page.js';

const CATALOGUE_OF = {
    '/algorithm': 'algorithms', '/alphabet/kind': 'alphabets', '/scale/rule': 'scale_rules', '/scale/type': 'scale_types',
    '/order': 'orders', '/format': 'formats', '/effort': 'efforts', '/evaluation/protocol': 'protocols',
};
const OPEN_FIRST = ['model', 'name', 'algorithm', 'effort', 'bits', 'group_size', 'format'];
const form = { fields: [], lists: new Set(), catalogue: {} };

/* What the catalogue says of a choice; "gptq" and "safetensors:bf16" find their rows too. */
function describeChoice(pointer, choice) {
    const rows = form.catalogue[CATALOGUE_OF[pointer]] || [];
    const row = rows.find((r) => r.name === String(choice).split(':')[0] || r.alias === choice);
    return row ? [row.summary, row.constraints].filter(Boolean).join('; holds ') : '';
}

/* Without what only abbreviates another shape: a bare text where an object or a list says the same and more. */
function shapesOf(schema) {
    const choices = schema.oneOf || schema.anyOf;
    if (!choices) return [schema];
    const rich = choices.some((shape) => typesOf(shape).includes('object') || shape.type === 'array');
    return choices.filter((shape) => !rich || (shape.const !== undefined ? true : !typesOf(shape).includes('string')));
}

function typesOf(schema) {
    return [].concat(schema.type || []);
}

function defaultText(schema) {
    if (schema.default === undefined) return schema['x-default-by'] ? 'by ' + schema['x-default-by'] : '';
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
    const input = element('input', { id, type: 'text', placeholder: defaultText(schema) || 'numbers, ascending', autocomplete: 'off', spellcheck: 'false' });
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
    form.fields.push({ pointer, control, error, read: () => (control.closest('[hidden]') ? undefined : read()) });
    return element('div', { class: 'field' }, element('label', { for: id, text: name.replaceAll('_', ' ') + (required ? ' (required)' : '') }), control, hint, error);
}

function drawObject(schema, pointer) {
    const required = new Set(schema.required || []);
    return Object.entries(schema.properties || {}).map(([name, child]) => drawNode(name, child, pointer + '/' + name, required.has(name)));
}

/* What a shape is called where one of several is chosen. */
function shapeTitle(shape) {
    if (shape.const !== undefined) return String(shape.const);
    if (shape.title) return shape.title;
    const named = Object.values(shape.properties || {}).find((part) => part.const !== undefined);
    if (named) return String(named.const);
    return shape.properties ? (shape.required || Object.keys(shape.properties)).join(', ').replaceAll('_', ' ') : 'a ' + typesOf(shape)[0];
}

/* One of several shapes: a choice, and the fields of the shape that is chosen; the others are hidden, and so not read. A constant needs no field.
 * Where one must be chosen, it is the first until another is. */
function drawShapes(name, node, shapes, pointer, required) {
    const id = 'field' + pointer.replaceAll('/', '-') + '-shape';
    const select = element('select', { id });
    if (!required) select.append(element('option', { value: '', text: defaultText(node) ? 'default: ' + defaultText(node) : 'default' }));
    const parts = shapes.map((shape, index) => {
        select.append(element('option', { value: String(index), text: shapeTitle(shape) }));
        if (shape.const !== undefined) return element('div', { hidden: '' });
        const drawn = shape.properties ? drawObject(shape, pointer) : [drawField(name, shape, pointer, false)];
        return element('div', { hidden: '' }, ...drawn);
    });
    const hint = element('p', { class: 'hint', id: id + '-hint' });
    const show = () => {
        parts.forEach((part, index) => (part.hidden = select.value !== String(index)));
        const shape = shapes[select.value] || {};
        const said = shape.const === undefined ? '' : describeChoice(pointer.replace(/\/\d+$/, ''), shape.const);
        hint.textContent = shape.description || said || node.description || '';
    };
    select.addEventListener('input', () => {
        show();
        preview();
    });
    show();
    const error = element('p', { class: 'error', id: id + '-error' });
    select.setAttribute('aria-describedby', hint.id + ' ' + error.id);
    const constant = () => (select.value === '' ? undefined : shapes[Number(select.value)].const);
    form.fields.push({ pointer, control: select, error, read: () => (select.closest('[hidden]') ? undefined : constant()) });
    return element('div', { class: 'field' }, element('label', { for: id, text: name.replaceAll('_', ' ') }), select, hint, error, ...parts);
}

/* The shapes of a list's items: one for every word, and the objects, whose constant member names them. */
function itemShapes(items) {
    return shapesOf(items).flatMap((shape) => (shape.enum ? shape.enum.map((word) => ({ const: word })) : [shape]));
}

/* A list that grows and shrinks at its end; its order is the order of the work. */
function drawList(name, schema, pointer) {
    const title = name.replaceAll('_', ' '), items = element('div', {});
    const add = element('button', { type: 'button', text: 'Add' }), remove = element('button', { type: 'button', text: 'Remove the last', hidden: '' });
    form.lists.add(pointer);
    add.addEventListener('click', () => {
        const at = items.children.length;
        items.append(drawShapes(String(at + 1), schema.items, itemShapes(schema.items), pointer + '/' + at, true));
        remove.hidden = false;
        preview();
    });
    remove.addEventListener('click', () => {
        const gone = items.lastElementChild;
        form.fields = form.fields.filter((field) => !gone.contains(field.control));
        gone.remove();
        remove.hidden = items.children.length === 0;
        preview();
    });
    return element('fieldset', {}, element('legend', { text: title }), element('p', { class: 'hint', text: [schema.description, schema.default !== undefined && 'default: ' + defaultText(schema)].filter(Boolean).join(' · ') }), items,
        element('div', { class: 'bar' }, add, remove));
}

/* A member with one possible value says which shape its object has: nothing to fill in. */
function drawConstant(node, pointer) {
    const control = element('span', {});
    form.fields.push({ pointer, control, error: element('p'), read: () => (control.closest('[hidden]') ? undefined : node.const) });
    return control;
}

function drawNode(name, node, pointer, required) {
    if (node.const !== undefined) return drawConstant(node, pointer);
    const shapes = shapesOf(node);
    if (shapes.length > 1) return drawShapes(name, node, shapes, pointer, required);
    const schema = shapes[0];
    if (typesOf(schema).includes('array') && (schema.items.oneOf || schema.items.enum)) return drawList(name, { ...schema, description: node.description, default: node.default }, pointer);
    if (!schema.properties) return drawField(name, schema, pointer, required);
    const title = name.replaceAll('_', ' ');
    const summary = element('summary', { text: title + (schema.description || node.description ? ' – ' + (node.description || schema.description) : '') });
    if (!required) return element('details', {}, summary, element('fieldset', {}, element('legend', { text: title }), ...drawObject(schema, pointer)));
    return drawRequired(title, schema, pointer);
}

/* A part that must be there shows what it must have; the rest of it is folded away. */
function drawRequired(title, schema, pointer) {
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

/* Puts a value at its pointer; what holds it is made on the way. */
function place(request, pointer, value) {
    const path = pointer.split('/').slice(1), last = path.pop();
    let at = request, here = '';
    for (const name of path) {
        here += '/' + name;
        if (typeof at[name] !== 'object') at[name] = form.lists.has(here) ? [] : {};
        at = at[name];
    }
    at[last] = value;
}

function readForm() {
    const request = {};
    for (const field of form.fields) {
        const value = field.read();
        if (value !== undefined) place(request, field.pointer, value);
    }
    return request;
}

function preview() {
    const request = readForm();
    if (request.model && request.model.token) request.model.token = '…';
    byId('preview').textContent = JSON.stringify(request, null, 2);
}

/* The field that a finding is shown at: its own, else the nearest one above, else the first one in it. Hidden shapes and constants show nothing. */
function fieldFor(pointer) {
    const seen = form.fields.filter((f) => f.error.isConnected && !f.error.closest('[hidden]'));
    for (let at = pointer; at !== ''; at = at.slice(0, at.lastIndexOf('/'))) {
        const found = seen.find((f) => f.pointer === at);
        if (found) return found;
    }
    return pointer === '' ? undefined : seen.find((f) => f.pointer.startsWith(pointer + '/'));
}

/* Findings go to their fields; the rest stays in the note. */
function showErrors(problem) {
    const left = [];
    let first = null;
    for (const finding of problem.errors) {
        const field = fieldFor(finding.pointer);
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

/* What the job would do, in a few lines; findings go to their fields. */
function showPlan(plan) {
    const lines = [];
    const { totals, forecast } = plan;
    if (totals) lines.push(`${totals.layers} layers to ${digits(totals.bits_per_weight)} bits a weight; artifact ${bytes(totals.artifact_bytes)}, download ${bytes(totals.download_bytes)}`);
    if (forecast) {
        const { total, low, high } = forecast.seconds;
        lines.push(`about ${duration(total)} (${duration(low)} to ${duration(high)}), ${bytes(forecast.peak_memory)} of memory, ${bytes(forecast.disk.total)} of disk`);
        const [inMemory, onDisk] = forecast.memory_choices;
        if (onDisk.peak_memory < inMemory.peak_memory) lines.push(`with limits.memory from ${bytes(onDisk.peak_memory)} it runs with matrices on disk: about ${duration(onDisk.seconds)} more`);
    }
    const loaders = plan.compatibility.filter((entry) => entry.loads === 'yes').map((entry) => entry.loader);
    if (loaders.length) lines.push('loads in ' + [...new Set(loaders)].join(', '));
    const unknown = plan.layers.filter((entry) => entry.action === 'unknown').length;
    if (unknown) lines.push(`${unknown} tensors are unknown`);
    byId('plan').replaceChildren(...lines.concat(plan.warnings).map((text) => element('p', { class: 'quiet', text })));
    if (plan.problems.length) showErrors({ errors: plan.problems, message: '' });
}

export async function check() {
    clearErrors();
    byId('plan').replaceChildren(element('p', { class: 'quiet', text: 'reading the model’s headers …' }));
    byId('check').disabled = true;
    try {
        showPlan(await call('POST', 'jobs?dry_run=true', readForm()));
    } catch (error) {
        byId('plan').replaceChildren();
        if (error instanceof Problem) showErrors(error);
        else byId('form-note').textContent = error.message;
    } finally {
        byId('check').disabled = false;
    }
}

export async function submit(event) {
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

export async function prepareForm() {
    try {
        const [schema, catalogue] = await Promise.all([call('GET', 'schema/job.json'), call('GET', 'catalog')]);
        form.catalogue = catalogue;
        form.fields = [];
        form.lists.clear();
        drawForm(schema);
    } catch (error) {
        byId('form-note').textContent = 'The form could not be drawn: ' + error.message;
    }
}
