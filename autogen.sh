#!/bin/sh
# Makes configure and Makefile.in from configure.ac and the local.am files.
set -eu
cd "$(dirname "$0")"
exec autoreconf --install --warnings=all
