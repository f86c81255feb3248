/* main.c: hands the command line to its verb. */
#include "cli/verb.h"

int main(int argc, char **argv)
{
    return qd_verb_main(argc, argv);
}
