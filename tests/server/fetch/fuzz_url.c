/* fuzz_url.c: URLs, networks, Link headers and the hub's pages from anybody. First byte: which parser. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/head.h"
#include "fetch/hub_api.h"
#include "fetch/policy.h"
#include "fetch/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was taken must survive being written and read again, and never name another place. */
static void try_url(const char *text)
{
    QD_AUTO(qd_url_fini) qd_url url = { 0 };
    QD_AUTO(qd_url_fini) qd_url again = { 0 };
    char shown[320];
    qd_error err;
    qd_url_redact(text, shown, sizeof shown);
    if (qd_url_parse(text, &url, &err) != QD_OK)
        return;
    QD_AUTO(qd_free_pointer) char *whole = qd_url_text(&url);
    if (whole == NULL || qd_url_parse(whole, &again, &err) != QD_OK || qd_url_same_origin(&url, &again) != QD_SAME ||
        strcmp(url.path, again.path) != 0)
        abort();
    qd_net address;
    (void)qd_host_literal(url.host, &address);
}

static void try_source(const char *text)
{
    QD_AUTO(qd_url_fini) qd_url hub = { 0 };
    QD_AUTO(qd_source_fini) qd_source source = { 0 };
    QD_AUTO(qd_source_fini) qd_source file = { 0 };
    qd_error err;
    if (qd_url_parse("https://huggingface.co", &hub, &err) != QD_OK)
        abort();
    if (qd_source_classify(text, &hub, &source, &err) == QD_OK && source.weights != NULL &&
        qd_name_is_plain(source.weights) != QD_SAME)
        abort();
    (void)qd_source_text(text, &file, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *text = malloc(size);
    if (text == NULL)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    qd_reply_head head = { .hub_size = QD_SIZE_UNKNOWN };
    qd_hub_tree tree = { 0 };
    qd_net net;
    char next[64];
    switch (data[0]) {
    case 'u':
        try_url(text);
        break;
    case 's':
        try_source(text);
        break;
    case 'n':
        (void)qd_net_parse(text, &net, NULL);
        break;
    case 'l':
        (void)qd_link_next(text, next, sizeof next);
        break;
    case 'h':
        qd_head_reset(&head);
        qd_head_line(&head, text, size - 1);
        break;
    case 't':
        (void)qd_hub_read_page(text, size - 1, &tree, NULL);
        break;
    default:
        break;
    }
    qd_hub_tree_fini(&tree);
    free(text);
    return 0;
}
