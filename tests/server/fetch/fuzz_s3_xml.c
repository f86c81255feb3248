/* fuzz_s3_xml.c: a storage's answers from anybody: lists, values, errors. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/s3_xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char word[40];
    qd_error err;
    qd_s3_list list = { 0 };
    qd_code code = qd_s3_read_list((const char *)data, size, &list, &err);
    for (size_t i = 0; i < list.count; i++)
        if (qd_name_is_plain(list.objects[i].name) != QD_SAME)
            abort();   /* such a name would become part of a path */
    if (code == QD_OK) /* a second page does no harm to the first */
        (void)qd_s3_read_list((const char *)data, size, &list, &err);
    qd_s3_list_fini(&list);
    if (qd_s3_read_text((const char *)data, size, "Code", word, sizeof word) == QD_SAME && strlen(word) >= sizeof word)
        abort();
    return 0;
}
