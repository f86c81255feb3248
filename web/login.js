/* login.js: asks for the key when the service does; the page then has a cookie that its script cannot read. */
'use strict';

import { byId, call } from './page.js';

/* Only says that there is a session to end: the cookie itself is out of the script's sight. */
const FLAG = 'quantd-logged-in';
let again = () => {};

/* `resume` is called once somebody has logged in. */
export function prepareLogin(resume) {
    again = resume;
    byId('login').addEventListener('submit', submit);
    byId('logout').addEventListener('click', logout);
    document.addEventListener('quantd-unauthorized', ask);
    byId('logout').hidden = localStorage.getItem(FLAG) === null;
}

function ask() {
    localStorage.removeItem(FLAG);
    byId('logout').hidden = true;
    if (!byId('login').hidden) return;
    byId('login').hidden = false;
    document.querySelector('main').hidden = true;
    byId('service').textContent = 'a key is needed';
    byId('login-key').focus();
}

async function submit(event) {
    event.preventDefault();
    const field = byId('login-key');
    byId('login-note').textContent = '';
    try {
        await call('POST', 'session', { key: field.value.trim() });
    } catch (error) {
        byId('login-note').textContent = error.message;
        field.focus();
        return;
    }
    field.value = '';
    localStorage.setItem(FLAG, 'yes');
    byId('login').hidden = true;
    byId('logout').hidden = false;
    document.querySelector('main').hidden = false;
    again();
}

async function logout() {
    try {
        await call('DELETE', 'session');
    } finally {
        ask();
    }
}
