/* forward.h: whole forward passes for tests, from the parts of core/model: all rows at once, one thread.
 * Also copies of fixture folders in a temporary place, to be damaged. */
#ifndef QD_TESTS_FORWARD_H
#define QD_TESTS_FORWARD_H

#include "check.h"
#include "folder.h"

#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/arch.h"

/* As one call a block, or group by group through separate buffers with every repeatable group run twice. */
typedef enum walk { BY_BLOCK, BY_GROUP } walk;

static inline void walk_groups(const qd_block *block, qd_matf residual, qd_scratch *scratch)
{
    qd_error err = { 0 };
    size_t groups = qd_block_groups(block), length = residual.rows;
    qd_matf_buf input = { 0 };
    check_ok(qd_matf_buf_init(&input, length, qd_block_group_width(block, 0), &err));
    check_ok(qd_block_enter(block, residual, scratch, input.view, &err));
    for (size_t g = 0; g < groups; g++) {
        qd_matf_buf next = { 0 };
        bool stays = g + 1 < groups && qd_block_group_place(block, g + 1) == qd_block_group_place(block, g);
        if (g + 1 < groups && !stays)
            check_ok(qd_matf_buf_init(&next, length, qd_block_group_width(block, g + 1), &err));
        for (int again = qd_block_group_writes_residual(block, g) ? 1 : 0; again < 2; again++)
            check_ok(qd_block_advance(block, g, residual, qd_operand_floats(qd_matf_const(input.view)), scratch,
                                      next.view, &err));
        if (stays)
            continue;
        qd_matf_buf_fini(&input);
        input = next;
    }
    qd_matf_buf_fini(&input);
}

/* out_normed: T x D behind the final norm. out_first: T x D behind block 0, may be empty. */
static inline void forward_hidden(const qd_model *model, const qd_overlay *overlay, const uint32_t *ids, walk how,
                                  qd_matf out_first, qd_matf out_normed)
{
    qd_error err = { 0 };
    qd_scratch *scratch = NULL;
    size_t length = out_normed.rows, bytes = length * out_normed.cols * sizeof(float);
    check_ok(qd_scratch_create(model, length, &scratch, &err));
    check_ok(qd_model_embed(model, ids, out_normed, &err));
    for (size_t b = 0; b < qd_model_borrow_config(model)->blocks; b++) {
        qd_block *block = NULL;
        check_ok(qd_block_load(model, b, overlay, QD_ARITHMETIC_FLOAT32, &block, &err));
        if (how == BY_BLOCK)
            check_ok(qd_block_forward(block, out_normed, scratch, &err));
        else
            walk_groups(block, out_normed, scratch);
        if (b == 0 && out_first.data != NULL)
            memcpy(out_first.data, out_normed.data, bytes);
        qd_block_destroy(block);
    }
    check_ok(qd_model_final_norm(model, out_normed, &err));
    qd_scratch_destroy(scratch);
}

/* out: T x V. */
static inline void forward_logits(const qd_model *model, const uint32_t *ids, walk how, qd_matf out)
{
    qd_error err = { 0 };
    qd_matf_buf hidden = { 0 };
    check_ok(qd_matf_buf_init(&hidden, out.rows, qd_model_borrow_config(model)->hidden, &err));
    forward_hidden(model, NULL, ids, how, (qd_matf){ 0 }, hidden.view);
    check_ok(qd_model_logits(model, qd_matf_const(hidden.view), out, &err));
    qd_matf_buf_fini(&hidden);
}

/* -log softmax(row)[target] in double, by the definition. */
static inline double naive_nll(const float *row, size_t count, uint32_t target)
{
    double top = -INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++)
        top = (double)row[i] > top ? (double)row[i] : top;
    for (size_t i = 0; i < count; i++)
        sum += exp((double)row[i] - top);
    return log(sum) + top - (double)row[target];
}

/* Without fsync: qd_file_copy would wait for the disk a few hundred times. */
static inline void copy_file(const char *from, const char *to)
{
    qd_error err = { 0 };
    qd_map map = { 0 };
    check_ok(qd_map_open(from, &map, &err));
    FILE *file = fopen(to, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(map.data, 1, map.size, file), map.size);
    assert_int_equal(fclose(file), 0);
    qd_map_fini(&map);
}

static inline void copy_folder(const char *from, const char *to)
{
    qd_error err = { 0 };
    char **names = NULL;
    size_t count = 0;
    check_ok(qd_dir_list(from, &names, &count, &err));
    for (size_t i = 0; i < count; i++) {
        char *source = qd_path_join(from, names[i]), *target = qd_path_join(to, names[i]);
        copy_file(source, target);
        free(source);
        free(target);
    }
    qd_names_free(names, count);
}

#endif
