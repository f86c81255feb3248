/* write_artifact.c: rounds a model to nearest and writes it as an artifact, for the test that reads one with foreign
 * eyes. Usage: write_artifact SOURCE FOLDER FORMAT BITS none|integer|float GROUP SCALE */
#include "folders.h"

int main(int argc, char **argv)
{
    qd_error err = { 0 };
    if (argc != 8 || qd_zero_kind_find(argv[5]) < 0)
        return 2;
    scene *s = scene_open(
        argv[1], argv[3],
        grid_of(strtod(argv[4], NULL), (qd_zero_kind)qd_zero_kind_find(argv[5]), strtoul(argv[6], NULL, 10), argv[7]));
    check_ok(scene_write(s, &err));
    check_ok(scene_check(s, &err));
    int failed = rename(s->dir, argv[2]) != 0;
    scene_close(s);
    return failed;
}
