#!/bin/sh
# Finds the programs named, or fetches them: from PATH; else, as root, from the distribution's packages; else unpacked
# under target/tools. What cannot be had is told here and by the test that needs it, which fails unless SKIP names it.
cd "$(dirname "$0")/.." || exit 1
tools=target/tools
for program in "$@"; do
    command -v "$program" >/dev/null && continue
    "$tools/usr/bin/$program" -V >/dev/null 2>&1 && continue
    case " $(echo "$SKIP" | tr , ' ') " in *" $program "*) continue ;; esac
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        echo "fetching $program from the distribution's packages: a test watches the server with it"
        apt-get install -y -q --no-install-recommends --no-remove "$program" >/dev/null 2>&1 && continue
        # A fresh machine has no lists of packages yet.
        apt-get update -q >/dev/null &&
            apt-get install -y -q --no-install-recommends --no-remove "$program" >/dev/null && continue
    elif command -v apt-get >/dev/null && command -v dpkg >/dev/null; then
        echo "fetching $program from the distribution's packages into $tools: a test watches the server with it"
        mkdir -p "$tools" && (cd "$tools" && apt-get download -q "$program" >/dev/null && dpkg -x "$program"_*.deb .) &&
            "$tools/usr/bin/$program" -V >/dev/null 2>&1 && continue
    fi
    echo "NOT RUN: $program is missing (apt-get install $program), so its tests will fail; SKIP=$program leaves them out"
done
