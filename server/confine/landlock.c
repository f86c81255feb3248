/* landlock.c: see landlock.h. */
#define _GNU_SOURCE
#include "confine/landlock.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/auto.h"

/* The kernel's numbers: Debian 12's header ends at ABI 2. */
enum { CALL_CREATE_RULESET = 444, CALL_ADD_RULE = 445, CALL_RESTRICT_SELF = 446 };
enum { CREATE_RULESET_VERSION = 1, RULE_PATH_BENEATH = 1 };

typedef struct ruleset_attributes {
    uint64_t files, network, scoped;
} ruleset_attributes;

typedef struct path_beneath {
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed)) path_beneath;

enum {
    EXECUTE = 1 << 0,
    WRITE_FILE = 1 << 1,
    READ_FILE = 1 << 2,
    READ_DIR = 1 << 3,
    REMOVE_DIR = 1 << 4,
    REMOVE_FILE = 1 << 5,
    MAKE_DIR = 1 << 7,
    MAKE_REGULAR = 1 << 8,
    REFER = 1 << 13,     /* to another folder; ABI 2 */
    TRUNCATE = 1 << 14,  /* ABI 3 */
    IOCTL_DEV = 1 << 15, /* ABI 5 */
};
enum { OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV };

static const uint64_t bind_and_connect_tcp = 3, abstract_sockets_and_signals = 3;

static const uint64_t uses[] = {
    [QD_MAY_READ] = READ_FILE | READ_DIR,
    [QD_MAY_RUN] = EXECUTE | READ_FILE,
    [QD_MAY_WRITE] =
        READ_FILE | READ_DIR | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REGULAR | REFER | TRUNCATE,
    [QD_MAY_WRITE_FILE] = READ_FILE | WRITE_FILE,
};

/* An ABI knows all rights below its first unknown one. */
static uint64_t file_rights(int abi)
{
    static const unsigned char known[] = { 0, 13, 14, 15, 15, 16 };
    size_t last = QD_LENGTH(known) - 1;
    return (UINT64_C(1) << known[(size_t)abi < last ? (size_t)abi : last]) - 1;
}

int qd_landlock_abi(void)
{
    long abi = syscall(CALL_CREATE_RULESET, NULL, (size_t)0, CREATE_RULESET_VERSION);
    return abi < 1 ? 0 : (int)abi;
}

qd_code qd_landlock_create(int abi, int *out_fd, qd_error *err)
{
    const ruleset_attributes attributes = { .files = file_rights(abi),
                                            .network = abi >= 4 ? bind_and_connect_tcp : 0,
                                            .scoped = abi >= 6 ? abstract_sockets_and_signals : 0 };
    /* a kernel refuses members that it does not know */
    size_t size = abi >= 6 ? sizeof attributes : offsetof(ruleset_attributes, scoped);
    if (abi < 4)
        size = offsetof(ruleset_attributes, network);
    long fd = syscall(CALL_CREATE_RULESET, &attributes, size, 0);
    if (fd < 0)
        return qd_fail_errno(err, "landlock: a set of rules");
    *out_fd = (int)fd; /* is close-on-exec */
    return QD_OK;
}

static int allow(int ruleset, int parent, uint64_t rights)
{
    const path_beneath rule = { .allowed = rights, .parent = parent };
    return (int)syscall(CALL_ADD_RULE, ruleset, RULE_PATH_BENEATH, &rule, 0);
}

qd_code qd_landlock_allow(int ruleset, int abi, const char *path, qd_landlock_use use, qd_error *err)
{
    QD_AUTO(qd_close_fd) int fd = open(path, O_PATH | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0)
        return qd_fail_errno(err, "landlock: '%s'", path);
    uint64_t rights = uses[use] & file_rights(abi);
    if (!S_ISDIR(info.st_mode))
        rights &= OF_FILES;
    return allow(ruleset, fd, rights) == 0 ? QD_OK : qd_fail_errno(err, "landlock: a rule for '%s'", path);
}

int qd_landlock_allow_self(int ruleset)
{
    int fd = open("/proc/self", O_PATH | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int result = allow(ruleset, fd, READ_FILE | READ_DIR);
    close(fd);
    return result;
}

int qd_landlock_enter(int ruleset)
{
    return (int)syscall(CALL_RESTRICT_SELF, ruleset, 0);
}
