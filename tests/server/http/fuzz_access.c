/* fuzz_access.c: any text as X-Forwarded-For, Host, Origin, Cookie, scopes and a key's wish: what is invented is never believed. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/key_json.h"
#include "base/json.h"
#include "http/forwarded.h"
#include "http/hosts.h"
#include "http/sessions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A peer that nobody trusts is the client, whatever it says; a trusted one's client is an address that stands in its header. */
static void forwarded(const char *text)
{
    qd_net net = { .family = QD_IPV4, .bytes = { 10 }, .bits = 8 };
    const qd_proxies proxies = { .nets = &net, .count = 1 };
    const qd_net trusted = { .family = QD_IPV4, .bytes = { 10, 1, 2, 3 }, .bits = 32 };
    const qd_net stranger = { .family = QD_IPV4, .bytes = { 192, 0, 2, 1 }, .bits = 32 };
    qd_net client = qd_forwarded_client(&proxies, &stranger, text);
    assert(memcmp(client.bytes, stranger.bytes, sizeof client.bytes) == 0);
    client = qd_forwarded_client(&proxies, &trusted, text);
    assert(client.bits == (client.family == QD_IPV4 ? 32u : 128u));
    assert(memcmp(client.bytes, trusted.bytes, sizeof client.bytes) == 0 || strpbrk(text, ".:") != NULL);
}

static void hosts(const char *text)
{
    static const char *const names[] = { "quantd.example.org", NULL };
    if (qd_host_allowed(text, "127.0.0.1", names))
        assert(strpbrk(text, "/@ \t?#%") == NULL);
    if (qd_origin_same(text, "localhost:8080", QD_SCHEME_HTTPS))
        assert(strlen(text) == strlen("https://localhost:8080"));
}

static void words(const char *text)
{
    char word[QD_SESSION_TEXT];
    unsigned scopes = 0;
    if (qd_session_of_cookie(text, word))
        assert(strlen(word) == QD_SESSION_TEXT - 1 && strstr(text, word) != NULL);
    if (qd_scopes_parse(text, &scopes, NULL) == QD_OK) {
        char printed[QD_SCOPES_TEXT];
        unsigned again = 0;
        qd_scopes_print(scopes, printed);
        assert(scopes != 0 && qd_scopes_parse(printed, &again, NULL) == QD_OK && again == scopes);
    }
}

static void wish(const char *text, size_t length)
{
    QD_AUTO(qd_json_fini) json_t *body = NULL;
    qd_key_wish parsed = { 0 };
    qd_issues issues = { 0 };
    qd_error err = { 0 };
    if (qd_json_parse_object(text, length, 4, &body, &err) != QD_OK)
        return;
    if (qd_key_wish_parse(body, &parsed, &issues, &err) == QD_OK)
        assert(parsed.name != NULL && parsed.scopes != 0 && parsed.lifetime_ms >= 0 && issues.count == 0);
    else
        assert(issues.count > 0 && issues.items[0].pointer[0] == '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    forwarded(text);
    hosts(text);
    words(text);
    wish(text, size);
    free(text);
    return 0;
}
