# lib.sh: what quickstart and check share. Sourced by both; needs $top (the source tree).

say() { printf '\n== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
        die "these packages are missing and neither root nor sudo is at hand: $missing"
    fi
}

# install WHO...: the packages of packages.txt whose first word is one of WHO. libcurl's development package may be of
# any TLS flavour and is never replaced; GnuTLS's is taken where there is none. An npm that came with another node is kept:
# Debian's package does not go beside it.
install_packages() {
    wanted=
    for who in "$@"; do
        wanted="$wanted $(sed -n "s/^$who //p" "$top/deploy/packages.txt" | tr '\n' ' ')"
    done
    missing=
    for package in $wanted; do
        [ "$package" = npm ] && command -v npm >/dev/null && continue
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    pkg-config --exists libcurl 2>/dev/null || missing="$missing libcurl4-gnutls-dev"
    [ -n "$missing" ] || return 0
    say "installing:$missing"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# configure_in FOLDER ARGUMENTS...: makes configure when sources are newer, and configures out of tree when needed.
configure_in() {
    folder=$1
    shift
    mkdir -p "$folder"
    if ! [ -x "$top/configure" ] || ! [ "$top/configure" -nt "$top/configure.ac" ]; then
        "$top/autogen.sh" >"$folder/autogen.log" 2>&1 || { cat "$folder/autogen.log" >&2; return 1; }
    fi
    [ -f "$folder/Makefile" ] && [ "$(cat "$folder/.arguments" 2>/dev/null)" = "$*" ] && return 0
    (cd "$folder" && "$top/configure" --quiet "$@" 2>configure.stderr >configure.stdout) ||
        { cat "$folder/configure.stdout" "$folder/configure.stderr" >&2; echo "configure failed in $folder" >&2; return 1; }
    printf '%s\n' "$*" >"$folder/.arguments"
}

cores() { getconf _NPROCESSORS_ONLN; }
