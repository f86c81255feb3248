#!/bin/sh
# no_cmocka.sh: stands for the C tests where configure found no cmocka. TAP.
echo "1..0 # SKIP cmocka was not found: the C tests are not built"
