/* hosts.c: see hosts.h. */
#include "http/hosts.h"

#include <string.h>
#include <strings.h>

#include "fetch/policy.h"
#include "http/forwarded.h"

enum { HOST_SIZE = 256 };

/* Host without brackets, and what follows it: "" or ":port". false: it is no host, or longer than any. */
static bool read_host(const char *host, char out[HOST_SIZE], const char **out_port)
{
    size_t skipped = host[0] == '[';
    size_t length = strcspn(host + skipped, skipped > 0 ? "]" : ":");
    const char *rest = host + skipped + length;
    if (skipped > 0 && *rest++ != ']')
        return false;
    if (length == 0 || length >= HOST_SIZE ||
        (*rest != '\0' && (*rest != ':' || rest[1 + strspn(rest + 1, "0123456789")] != '\0')))
        return false;
    memcpy(out, host + skipped, length);
    out[length] = '\0';
    *out_port = rest;
    return true;
}

/* An address in its usual spelling. */
static bool read_address(const char *name, qd_net *out)
{
    if (strchr(name, '/') != NULL || qd_net_parse(name, out, NULL) != QD_OK)
        return false;
    *out = qd_net_unmapped(out);
    return true;
}

bool qd_host_is_loopback(const char *name)
{
    static const qd_net v4 = { QD_IPV4, { 127 }, 8 };
    static const qd_net v6 = { QD_IPV6, { [15] = 1 }, 128 };
    qd_net address;
    if (!read_address(name, &address))
        return strcasecmp(name, "localhost") == 0;
    return qd_net_contains(&v4, &address) || qd_net_contains(&v6, &address);
}

static bool is_every_address(const char *listen_host)
{
    return listen_host != NULL && (strcmp(listen_host, "0.0.0.0") == 0 || strcmp(listen_host, "::") == 0);
}

static bool is_named(const char *name, const char *port, const char *allowed)
{
    char wanted[HOST_SIZE];
    const char *wanted_port;
    qd_net bare;
    if (read_address(allowed, &bare)) /* IPv6 without brackets */
        return strcasecmp(name, allowed) == 0;
    return read_host(allowed, wanted, &wanted_port) && strcasecmp(name, wanted) == 0 &&
           (*wanted_port == '\0' || strcmp(port, wanted_port) == 0);
}

bool qd_host_allowed(const char *host, const char *listen_host, const char *const *names)
{
    char name[HOST_SIZE];
    const char *port;
    qd_net address;
    if (!read_host(host, name, &port))
        return false;
    if (qd_host_is_loopback(name) || (listen_host != NULL && strcasecmp(name, listen_host) == 0))
        return true;
    if (is_every_address(listen_host) && read_address(name, &address))
        return true;
    for (size_t i = 0; names != NULL && names[i] != NULL; i++)
        if (is_named(name, port, names[i]))
            return true;
    return false;
}

bool qd_origin_same(const char *origin, const char *host, qd_scheme scheme)
{
    static const char *const schemes[] = { "https://", "http://" };
    size_t known = scheme == QD_SCHEME_HTTPS ? 1 : QD_LENGTH(schemes);
    for (size_t i = 0; host != NULL && i < known; i++)
        if (strncasecmp(origin, schemes[i], strlen(schemes[i])) == 0)
            return strcasecmp(origin + strlen(schemes[i]), host) == 0;
    return false;
}
