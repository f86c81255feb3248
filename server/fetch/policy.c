/* policy.c: see policy.h. */
#include "fetch/policy.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

typedef struct special {
    const char *cidr, *what;
} special;

/* What IPv4 destinations are never public (IANA IPv4 special-purpose registry, multicast and class E). */
static const special v4_blocked[] = {
    { "0.0.0.0/8", "this host" },
    { "10.0.0.0/8", "private" },
    { "100.64.0.0/10", "carrier-grade NAT" },
    { "127.0.0.0/8", "loopback" },
    { "169.254.0.0/16", "link-local (metadata services)" },
    { "172.16.0.0/12", "private" },
    { "192.0.0.0/24", "protocol assignments" },
    { "192.0.2.0/24", "documentation" },
    { "192.88.99.0/24", "6to4 relay" },
    { "192.168.0.0/16", "private" },
    { "198.18.0.0/15", "benchmarking" },
    { "198.51.100.0/24", "documentation" },
    { "203.0.113.0/24", "documentation" },
    { "224.0.0.0/4", "multicast" },
    { "240.0.0.0/4", "reserved or broadcast" },
};
/* Holes in 2000::/3; everything outside 2000::/3 is blocked. 6to4 (2002::/16) is judged by the IPv4 address inside. */
static const special v6_blocked[] = {
    { "2001::/32", "Teredo" },
    { "2001:db8::/32", "documentation" },
    { "3fff::/20", "documentation" },
};

static unsigned width(qd_family family)
{
    return family == QD_IPV4 ? 32 : 128;
}

bool qd_net_contains(const qd_net *net, const qd_net *address)
{
    if (net->family != address->family)
        return false;
    unsigned whole = net->bits / 8, rest = net->bits % 8;
    if (memcmp(net->bytes, address->bytes, whole) != 0)
        return false;
    return rest == 0 || (net->bytes[whole] ^ address->bytes[whole]) >> (8 - rest) == 0;
}

static qd_code parse_bits(const char *text, const char *whole, unsigned limit, unsigned *out, qd_error *err)
{
    char *end;
    unsigned long bits = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || bits > limit)
        return qd_fail(err, QD_EINVAL, "network '%s': the prefix length is not in 0..%u", whole, limit);
    *out = (unsigned)bits;
    return QD_OK;
}

qd_code qd_net_parse(const char *text, qd_net *out, qd_error *err)
{
    char address[QD_ADDRESS_TEXT];
    size_t length = strcspn(text, "/");
    qd_net net = { 0 };
    if (length >= sizeof address)
        return qd_fail(err, QD_EINVAL, "network '%.60s' is not an address/prefix such as 10.0.0.0/8", text);
    memcpy(address, text, length);
    address[length] = '\0';
    if (inet_pton(AF_INET, address, net.bytes) == 1)
        net.family = QD_IPV4;
    else if (inet_pton(AF_INET6, address, net.bytes) == 1)
        net.family = QD_IPV6;
    else
        return qd_fail(err, QD_EINVAL, "network '%.60s' is not an address/prefix such as 10.0.0.0/8", text);
    net.bits = width(net.family);
    if (text[length] == '/') {
        qd_code code = parse_bits(text + length + 1, text, net.bits, &net.bits, err);
        if (code != QD_OK)
            return code;
    }
    for (unsigned bit = net.bits; bit < width(net.family); bit++)
        if (net.bytes[bit / 8] & (0x80 >> bit % 8))
            return qd_fail(err, QD_EINVAL, "network '%s' has bits set beyond its prefix of %u", text, net.bits);
    *out = net;
    return QD_OK;
}

qd_code qd_net_of_sockaddr(const struct sockaddr *address, qd_net *out, qd_error *err)
{
    *out = (qd_net){ 0 };
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        memcpy(out->bytes, &in.sin_addr, 4);
        out->family = QD_IPV4;
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        memcpy(out->bytes, &in6.sin6_addr, 16);
        out->family = QD_IPV6;
    } else {
        return qd_fail(err, QD_EUNSUPPORTED, "address family %d", address->sa_family);
    }
    out->bits = width(out->family);
    return QD_OK;
}

void qd_address_policy_fini(qd_address_policy *policy)
{
    free(policy->allowed);
    *policy = (qd_address_policy){ 0 };
}

qd_code qd_address_policy_init(qd_address_policy *policy, const char *const *cidrs, qd_error *err)
{
    size_t count = 0;
    while (cidrs != NULL && cidrs[count] != NULL)
        count++;
    QD_AUTO(qd_free_pointer) qd_net *nets = NULL;
    qd_code code = qd_alloc(count, sizeof *nets, (void **)&nets, err);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        code = qd_net_parse(cidrs[i], &nets[i], err);
    if (code != QD_OK)
        return qd_within(err, code, "allow-net");
    *policy = (qd_address_policy){ .allowed = nets, .count = count };
    nets = NULL;
    return QD_OK;
}

/* The IPv4 address that an IPv6 one stands for: ::ffff:0:0/96 (mapped), 64:ff9b::/96 (NAT64), 2002::/16 (6to4). */
static bool unwrap(const qd_net *address, qd_net *out)
{
    static const struct {
        qd_net net;
        unsigned at;
    } wraps[] = {
        { { QD_IPV6, { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff }, 96 }, 12 },
        { { QD_IPV6, { 0x00, 0x64, 0xff, 0x9b }, 96 }, 12 },
        { { QD_IPV6, { 0x20, 0x02 }, 16 }, 2 },
    };
    for (size_t i = 0; i < QD_LENGTH(wraps); i++)
        if (qd_net_contains(&wraps[i].net, address)) {
            *out = (qd_net){ .family = QD_IPV4, .bits = 32 };
            memcpy(out->bytes, address->bytes + wraps[i].at, 4);
            return true;
        }
    return false;
}

static const char *find_special(const special *rows, size_t count, const qd_net *address)
{
    for (size_t i = 0; i < count; i++) {
        qd_net net;
        if (qd_net_parse(rows[i].cidr, &net, NULL) == QD_OK && qd_net_contains(&net, address))
            return rows[i].what;
    }
    return NULL;
}

static const char *blocked_reason(const qd_net *address)
{
    if (address->family == QD_IPV4)
        return find_special(v4_blocked, QD_LENGTH(v4_blocked), address);
    qd_net inner;
    if (unwrap(address, &inner))
        return blocked_reason(&inner);
    static const qd_net global = { QD_IPV6, { 0x20 }, 3 };
    if (!qd_net_contains(&global, address))
        return "not a global IPv6 address";
    return find_special(v6_blocked, QD_LENGTH(v6_blocked), address);
}

qd_verdict qd_address_judge(const qd_address_policy *policy, const qd_net *address, const char **out_reason)
{
    qd_net inner;
    bool wrapped = address->family == QD_IPV6 && unwrap(address, &inner);
    for (size_t i = 0; i < policy->count; i++)
        if (qd_net_contains(&policy->allowed[i], address) || (wrapped && qd_net_contains(&policy->allowed[i], &inner)))
            return QD_ADDRESS_ALLOWED;
    *out_reason = blocked_reason(address);
    return *out_reason == NULL ? QD_ADDRESS_PUBLIC : QD_ADDRESS_BLOCKED;
}

qd_literal qd_host_literal(const char *host, qd_net *out)
{
    char bare[256];
    size_t length = strlen(host);
    if (length == 0 || length >= sizeof bare)
        return QD_NOT_LITERAL;
    memcpy(bare, host, length + 1);
    if (host[0] == '[') {
        memmove(bare, bare + 1, length - 2);
        bare[length - 2] = '\0';
    }
    /* getaddrinfo takes the spellings that connecting would take: decimal, octal, hexadecimal, 1 to 4 parts. */
    const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    if (getaddrinfo(bare, NULL, &hints, &found) != 0)
        return QD_NOT_LITERAL;
    qd_code code = qd_net_of_sockaddr(found->ai_addr, out, NULL);
    freeaddrinfo(found);
    return code == QD_OK ? QD_LITERAL : QD_NOT_LITERAL;
}

void qd_net_text(const qd_net *address, char out[QD_ADDRESS_TEXT])
{
    if (inet_ntop(address->family == QD_IPV4 ? AF_INET : AF_INET6, address->bytes, out, QD_ADDRESS_TEXT) == NULL)
        memcpy(out, "?", 2);
}
