/* auto.c: see auto.h. */
#include "base/auto.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void qd_free_pointer(void *pointer_to_pointer)
{
    void *p;
    memcpy(&p, pointer_to_pointer, sizeof p);
    free(p);
    p = NULL;
    memcpy(pointer_to_pointer, &p, sizeof p);
}

void qd_close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}
