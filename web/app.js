/* app.js: the dashboard: it starts here. Everything it knows comes from the public API. */
'use strict';

import { check, prepareForm, submit } from './form.js';
import { openJob } from './job.js';
import { refreshList, restartList, watchEnd } from './list.js';
import { prepareLogin } from './login.js';
import { byId, element } from './page.js';

const STATES = ['queued', 'downloading', 'quantizing', 'evaluating', 'exporting', 'verifying', 'succeeded', 'failed', 'cancelled', 'quarantined'];

function route() {
    const found = location.hash.match(/^#\/jobs\/([a-z0-9]{26})$/);
    openJob(found ? found[1] : null);
    for (const link of byId('jobs').querySelectorAll('a'))
        if (link.getAttribute('href') === location.hash) link.setAttribute('aria-current', 'true');
        else link.removeAttribute('aria-current');
}

for (const state of STATES) byId('filter').append(element('option', { value: state, text: state }));
byId('filter').addEventListener('change', restartList);
let typing = 0;
byId('search').addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(restartList, 300);
});
watchEnd();
byId('form').addEventListener('submit', submit);
byId('check').addEventListener('click', check);
document.addEventListener('visibilitychange', () => {
    if (!document.hidden) refreshList();
});
window.addEventListener('hashchange', route);
prepareLogin(() => {
    route();
    refreshList();
});
prepareForm();
route();
refreshList();
