/* collect.c: see collect.h. */
#include "fetch/collect.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "fetch/run.h"

/* Clocks of files and of the process differ by some milliseconds; a lease covers what was used a little before it. */
enum { LEASE_MARGIN_MS = 60000 };

typedef struct blob {
    char *path;
    ino_t inode;
    nlink_t links; /* counts down as snapshots go, also where nothing is removed */
    uint64_t bytes;
    int64_t used_ms;
    enum { THERE, GONE } fate;
} blob;

/* A snapshot, or a blob of none. */
typedef struct candidate {
    char *path; /* of a snapshot; NULL = a blob */
    size_t blob;
    int64_t used_ms;
} candidate;

typedef struct collection {
    const qd_cache *cache;
    const qd_cache_rules *rules;
    int64_t now_ms, leased_ms; /* used since then: in use */
    blob *blobs;
    size_t blob_count, blob_capacity;
    candidate *candidates;
    size_t count, capacity;
    uint64_t total, removed;
} collection;

static void collection_fini(collection *c)
{
    for (size_t i = 0; i < c->blob_count; i++)
        free(c->blobs[i].path);
    for (size_t i = 0; i < c->count; i++)
        free(c->candidates[i].path);
    free(c->blobs);
    free(c->candidates);
}

static int64_t used_at(const struct stat *info)
{
    return (int64_t)info->st_mtim.tv_sec * 1000 + info->st_mtim.tv_nsec / 1000000;
}

/* Every name of a folder that can be stat'ed; one that vanishes meanwhile is passed over. */
static qd_code each_name(const char *folder,
                         qd_code (*visit)(collection *c, char *path_taken, const char *name, const struct stat *info,
                                          qd_error *err),
                         collection *c, qd_error *err)
{
    char **names = NULL;
    size_t count = 0;
    qd_code code = qd_dir_list(folder, &names, &count, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        struct stat info;
        char *path = qd_path_join(folder, names[i]);
        if (path == NULL)
            code = qd_fail(err, QD_ENOMEM, "out of memory");
        else if (lstat(path, &info) == 0)
            code = visit(c, path, names[i], &info, err);
        else
            free(path);
    }
    qd_names_free(names, count);
    return code == QD_ENOTFOUND ? QD_OK : code;
}

static qd_code add_blob(collection *c, char *path, const char *name, const struct stat *info, qd_error *err)
{
    if (!S_ISREG(info->st_mode) || strlen(name) != QD_DIGEST_HEX - 1) {
        free(path);
        return QD_OK;
    }
    qd_code code = qd_grow((void **)&c->blobs, &c->blob_capacity, c->blob_count + 1, sizeof *c->blobs, err);
    if (code != QD_OK) {
        free(path);
        return code;
    }
    c->blobs[c->blob_count++] = (blob){ .path = path,
                                        .inode = info->st_ino,
                                        .links = info->st_nlink,
                                        .bytes = (uint64_t)info->st_size,
                                        .used_ms = used_at(info) };
    c->total += (uint64_t)info->st_size;
    return QD_OK;
}

static qd_code add_blob_folder(collection *c, char *path, const char *name, const struct stat *info, qd_error *err)
{
    (void)name;
    qd_code code = S_ISDIR(info->st_mode) ? each_name(path, add_blob, c, err) : QD_OK;
    free(path);
    return code;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_kept(const qd_cache_rules *rules, const char *name)
{
    return rules->kept_count > 0 &&
           bsearch(&name, rules->kept, rules->kept_count, sizeof *rules->kept, compare_names) != NULL;
}

static qd_code add_candidate_take(collection *c, char *path, size_t at, int64_t used_ms, qd_error *err)
{
    qd_code code = qd_grow((void **)&c->candidates, &c->capacity, c->count + 1, sizeof *c->candidates, err);
    if (code != QD_OK) {
        free(path);
        return code;
    }
    c->candidates[c->count++] = (candidate){ .path = path, .blob = at, .used_ms = used_ms };
    return QD_OK;
}

static qd_code add_snapshot(collection *c, char *path, const char *name, const struct stat *info, qd_error *err)
{
    if (S_ISDIR(info->st_mode) && strlen(name) == QD_DIGEST_HEX - 1 && used_at(info) < c->leased_ms &&
        !is_kept(c->rules, name))
        return add_candidate_take(c, path, 0, used_at(info), err);
    free(path);
    return QD_OK;
}

static qd_code add_loose_blobs(collection *c, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < c->blob_count; i++)
        if (c->blobs[i].links == 1 && c->blobs[i].used_ms < c->leased_ms)
            code = add_candidate_take(c, NULL, i, c->blobs[i].used_ms, err);
    return code;
}

static int compare_blobs(const void *a, const void *b)
{
    ino_t x = ((const blob *)a)->inode, y = ((const blob *)b)->inode;
    return (x > y) - (x < y);
}

static int compare_candidates(const void *a, const void *b)
{
    int64_t x = ((const candidate *)a)->used_ms, y = ((const candidate *)b)->used_ms;
    return (x > y) - (x < y);
}

static qd_code look_around(collection *c, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *blobs = qd_path_join(c->cache->root, "blobs");
    QD_AUTO(qd_free_pointer) char *snapshots = qd_path_join(c->cache->root, "snapshots");
    if (blobs == NULL || snapshots == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    /* Snapshots first: a blob that a new one links to meanwhile has too many links, never too few. */
    qd_code code = each_name(snapshots, add_snapshot, c, err);
    if (code == QD_OK)
        code = each_name(blobs, add_blob_folder, c, err);
    if (c->blob_count > 0)
        qsort(c->blobs, c->blob_count, sizeof *c->blobs, compare_blobs);
    if (code == QD_OK)
        code = add_loose_blobs(c, err);
    if (c->count > 0)
        qsort(c->candidates, c->count, sizeof *c->candidates, compare_candidates);
    return code;
}

static const char *base_name(const char *path)
{
    return strrchr(path, '/') + 1;
}

/* Unless it was used since it was looked at, or somebody linked to it. */
static void remove_blob(collection *c, blob *b)
{
    if (b->fate == GONE || b->links > 1 || b->used_ms >= c->leased_ms)
        return;
    bool gone = c->rules->mode == QD_COLLECT_LIST;
    if (!gone) {
        struct stat info;
        pthread_mutex_lock(&c->cache->users->mutex);
        gone = lstat(b->path, &info) == 0 && info.st_nlink == 1 && used_at(&info) == b->used_ms && unlink(b->path) == 0;
        pthread_mutex_unlock(&c->cache->users->mutex);
    }
    if (!gone)
        return;
    b->fate = GONE;
    c->removed += b->bytes;
    c->total -= b->bytes;
}

static blob *find_blob(const collection *c, ino_t inode)
{
    const blob wanted = { .inode = inode };
    return c->blob_count == 0 ? NULL : bsearch(&wanted, c->blobs, c->blob_count, sizeof *c->blobs, compare_blobs);
}

/* By one rename, so that nobody finds half of it; unless it was used since it was looked at. */
static bool set_aside(const collection *c, const candidate *one, const char *aside)
{
    struct stat info;
    pthread_mutex_lock(&c->cache->users->mutex);
    bool done = lstat(one->path, &info) == 0 && used_at(&info) == one->used_ms && rename(one->path, aside) == 0;
    pthread_mutex_unlock(&c->cache->users->mutex);
    return done;
}

/* Inodes of a snapshot's files, before they go. */
typedef struct files {
    ino_t *inodes;
    size_t count;
} files;

static void files_fini(files *f)
{
    free(f->inodes);
}

/* Where the file system has no links, a snapshot holds copies: they count for themselves. */
static qd_code list_files(collection *c, const char *folder, files *out, qd_error *err)
{
    char **names = NULL;
    size_t count = 0;
    qd_code code = qd_dir_list(folder, &names, &count, err);
    if (code == QD_OK)
        code = qd_alloc(count + 1, sizeof *out->inodes, (void **)&out->inodes, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        QD_AUTO(qd_free_pointer) char *path = qd_path_join(folder, names[i]);
        struct stat info;
        if (path == NULL || lstat(path, &info) != 0)
            continue;
        blob *b = find_blob(c, info.st_ino);
        if (b == NULL)
            c->removed += (uint64_t)info.st_size;
        else if (b->links > 1)
            b->links--;
        out->inodes[out->count++] = info.st_ino;
    }
    qd_names_free(names, count);
    return code;
}

static qd_code remove_snapshot(collection *c, const candidate *one, qd_error *err)
{
    QD_AUTO(files_fini) files f = { 0 };
    QD_AUTO(qd_free_pointer) char *aside = qd_path_temporary(one->path);
    const char *folder = c->rules->mode == QD_COLLECT_LIST ? one->path : aside;
    if (aside == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (c->rules->mode == QD_COLLECT_REMOVE && !set_aside(c, one, aside))
        return QD_OK;
    qd_code code = list_files(c, folder, &f, err);
    if (code == QD_OK && c->rules->mode == QD_COLLECT_REMOVE)
        code = qd_dir_remove(aside, err);
    for (size_t i = 0; code == QD_OK && i < f.count; i++) {
        blob *b = find_blob(c, f.inodes[i]);
        if (b != NULL)
            remove_blob(c, b);
    }
    return code;
}

static qd_code remove_candidate(collection *c, const candidate *one, qd_error *err)
{
    uint64_t before = c->removed;
    const char *name = base_name(one->path == NULL ? c->blobs[one->blob].path : one->path);
    qd_code code = QD_OK;
    if (one->path == NULL)
        remove_blob(c, &c->blobs[one->blob]);
    else
        code = remove_snapshot(c, one, err);
    if (c->removed > before)
        c->rules->removed(c->rules->ctx, one->path == NULL ? "file" : "model", name, c->removed - before);
    return code;
}

static bool must_go(const collection *c, const candidate *one)
{
    const qd_cache_rules *rules = c->rules;
    double age = (double)(c->now_ms - one->used_ms) * 1e-3;
    return (rules->keep_seconds > 0 && age > rules->keep_seconds) ||
           (rules->limit_bytes > 0 && c->total > rules->limit_bytes) || c->removed < rules->wanted_bytes;
}

static int64_t leased_since(const qd_fetcher *fetcher, int64_t now_ms)
{
    int64_t since = now_ms;
    pthread_mutex_lock(&fetcher->cache.users->mutex);
    for (const qd_fetch_lease *l = fetcher->cache.users->leases; l != NULL; l = l->next)
        since = l->since_ms < since ? l->since_ms : since;
    pthread_mutex_unlock(&fetcher->cache.users->mutex);
    return since - LEASE_MARGIN_MS;
}

qd_code qd_fetch_collect(qd_fetcher *fetcher, const qd_cache_rules *rules, uint64_t *out_bytes, qd_error *err)
{
    QD_AUTO(collection_fini) collection c = { .cache = &fetcher->cache, .rules = rules, .now_ms = qd_clock_wall_ms() };
    c.leased_ms = leased_since(fetcher, c.now_ms);
    qd_code code = look_around(&c, err);
    for (size_t i = 0; code == QD_OK && i < c.count; i++)
        if (must_go(&c, &c.candidates[i]))
            code = remove_candidate(&c, &c.candidates[i], err);
    if (code == QD_OK && rules->mode == QD_COLLECT_REMOVE)
        qd_cache_collect_stale(c.cache);
    if (code == QD_OK)
        *out_bytes = c.total;
    return code;
}

void qd_fetch_lease_begin(qd_fetcher *fetcher, qd_fetch_lease *lease)
{
    qd_cache_users *users = fetcher->cache.users;
    pthread_mutex_lock(&users->mutex);
    *lease = (qd_fetch_lease){ .since_ms = qd_clock_wall_ms(), .next = users->leases };
    users->leases = lease;
    pthread_mutex_unlock(&users->mutex);
}

void qd_fetch_lease_end(qd_fetcher *fetcher, qd_fetch_lease *lease)
{
    qd_cache_users *users = fetcher->cache.users;
    pthread_mutex_lock(&users->mutex);
    for (qd_fetch_lease **at = &users->leases; *at != NULL; at = &(*at)->next)
        if (*at == lease) {
            *at = lease->next;
            break;
        }
    pthread_mutex_unlock(&users->mutex);
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const qd_snapshot_file *)a)->name, ((const qd_snapshot_file *)b)->name);
}

qd_code qd_fetch_snapshot_id(const json_t *list, char out_id[QD_DIGEST_HEX], qd_error *err)
{
    QD_AUTO(qd_free_pointer) qd_snapshot_file *rows = NULL;
    size_t count = json_array_size(list);
    if (count == 0)
        return qd_fail(err, QD_EFORMAT, "no list of a model's files");
    qd_code code = qd_alloc(count, sizeof *rows, (void **)&rows, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        const json_t *file = json_array_get(list, i);
        rows[i] = (qd_snapshot_file){ .name = json_string_value(json_object_get(file, "name")),
                                      .sha256 = json_string_value(json_object_get(file, "sha256")) };
        if (rows[i].name == NULL || rows[i].sha256 == NULL)
            code = qd_fail(err, QD_EFORMAT, "a model's file without name or sha256");
    }
    if (code != QD_OK)
        return code;
    qsort(rows, count, sizeof *rows, compare_files);
    return qd_snapshot_id(rows, count, out_id, err);
}
