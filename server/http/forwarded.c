/* forwarded.c: see forwarded.h. */
#include "http/forwarded.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

qd_code qd_proxies_init(qd_proxies *proxies, const char *const *cidrs, qd_error *err)
{
    size_t count = 0;
    qd_net *nets = NULL;
    while (cidrs != NULL && cidrs[count] != NULL)
        count++;
    qd_code code = qd_alloc(count, sizeof *nets, (void **)&nets, err);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        code = qd_net_parse(cidrs[i], &nets[i], err);
    if (code != QD_OK) {
        free(nets);
        return qd_within(err, code, "trusted-proxy");
    }
    *proxies = (qd_proxies){ .nets = nets, .count = count };
    return QD_OK;
}

void qd_proxies_fini(qd_proxies *proxies)
{
    free(proxies->nets);
    *proxies = (qd_proxies){ 0 };
}

qd_net qd_net_unmapped(const qd_net *address)
{
    static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
    qd_net plain = { .family = QD_IPV4, .bits = 32 };
    if (address->family != QD_IPV6 || memcmp(address->bytes, mapped, sizeof mapped) != 0)
        return *address;
    memcpy(plain.bytes, address->bytes + 12, 4);
    return plain;
}

static bool is_trusted(const qd_proxies *proxies, const qd_net *address)
{
    for (size_t i = 0; i < proxies->count; i++)
        if (qd_net_contains(&proxies->nets[i], address))
            return true;
    return false;
}

/* "192.0.2.1", "192.0.2.1:4711", "2001:db8::1", "[2001:db8::1]:4711". */
static bool read_entry(const char *text, size_t length, qd_net *out)
{
    char entry[QD_ADDRESS_TEXT + 8];
    while (length > 0 && (*text == ' ' || *text == '\t')) {
        text++;
        length--;
    }
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
        length--;
    if (length == 0 || length >= sizeof entry || memchr(text, '/', length) != NULL)
        return false;
    memcpy(entry, text, length);
    entry[length] = '\0';
    char *start = entry, *colon = strchr(entry, ':');
    if (entry[0] == '[') {
        start = entry + 1;
        start[strcspn(start, "]")] = '\0';
    } else if (colon != NULL && strchr(colon + 1, ':') == NULL)
        *colon = '\0'; /* one colon: a port */
    if (qd_net_parse(start, out, NULL) != QD_OK)
        return false;
    *out = qd_net_unmapped(out);
    return true;
}

qd_net qd_forwarded_client(const qd_proxies *proxies, const qd_net *peer, const char *forwarded_for)
{
    qd_net client = qd_net_unmapped(peer);
    size_t end = forwarded_for == NULL ? 0 : strlen(forwarded_for);
    while (end > 0 && is_trusted(proxies, &client)) {
        size_t start = end;
        qd_net entry;
        while (start > 0 && forwarded_for[start - 1] != ',')
            start--;
        if (!read_entry(forwarded_for + start, end - start, &entry))
            break;
        client = entry;
        end = start == 0 ? 0 : start - 1;
    }
    return client;
}
