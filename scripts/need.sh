#!/bin/sh
# Finds the programs named, or fetches them: from PATH; else, as root, from the distribution's packages; else unpacked
# under target/tools. What cannot be had is told here and by the tests that need it, which fail unless SKIP has their
# word: `strace`, `mysql` for mariadbd, or in the comparison `redis` and `wrk`; words are separated by commas or spaces.
# What has no word (`valgrind`, `gungraun-runner`, `perf`) has no tests: without it the status is 1.
cd "$(dirname "$0")/.." || exit 1
tools=target/tools
log=$tools/fetched.log
# Servers are where not everybody's PATH looks.
PATH=$PATH:/usr/sbin:/usr/local/sbin
# Nobody is here to answer a package's questions.
export DEBIAN_FRONTEND=noninteractive

# Sets what is known of a program: the packages that have it, the word in SKIP, and what it is for.
describe() {
    unpack_only= word= packages=
    case $1 in
    strace) packages=strace word=strace why="tests watch the server's system calls with it" ;;
    # The core packages start no daemon. The installer of data directories is with the server, and asks
    # my_print_defaults, which is with the client.
    mariadbd)
        packages="mariadb-server-core mariadb-client-core" word=mysql
        why="tests ship orders to a MariaDB of their own"
        ;;
    # The package starts a daemon once it is installed; unpacked it starts nothing. The program itself is in the tools.
    redis-server)
        packages="redis-server redis-tools" word=redis unpack_only=yes
        why="the comparison is with a Redis of its own"
        ;;
    wrk) packages=wrk word=wrk why="the comparison sends its requests with it" ;;
    # Its launcher looks for its other half where the package would have put it, so what is unpacked gets one of ours.
    valgrind) packages=valgrind why="instructions are counted by it" ;;
    perf) packages=linux-perf why="profiles are recorded with it" ;;
    gungraun-runner) why="it runs what valgrind counts" ;;
    *) echo "$0: nothing is known of $1" && exit 1 ;;
    esac
}

# Whether a program runs where the tests look for it.
found() {
    case $1 in
    strace) strace -V || "$tools/usr/bin/strace" -V ;;
    redis-server) redis-server --version || (use_libraries && "$tools/usr/bin/redis-server" --version) ;;
    wrk) wrk_runs wrk || (use_libraries && wrk_runs "$tools/usr/bin/wrk") ;;
    valgrind) valgrind_runs valgrind || valgrind_runs "$tools/bin/valgrind" ;;
    perf) perf version || (use_libraries && "$tools/usr/bin/perf" version) ;;
    gungraun-runner) is_runner gungraun-runner || is_runner "$tools/bin/gungraun-runner" ;;
    mariadbd) mariadb_in "$PATH" || (use_libraries && mariadb_in "$tools/usr/sbin:$tools/usr/bin") ;;
    esac >/dev/null 2>&1
}

mariadb_in() (
    PATH=$1
    mariadbd -V && command -v mariadb-install-db && command -v my_print_defaults
)

# It tells its version, and then that it was not told whom to ask.
wrk_runs() {
    "$1" -v 2>&1 | grep -q Copyright
}

# To tell its version it needs nothing of what it needs to run.
valgrind_runs() {
    "$1" --tool=callgrind --callgrind-out-file=/dev/null true
}

# It takes orders only from a gungraun of its own version.
is_runner() {
    [ "$("$1" --version)" = "gungraun-runner $(runner_version)" ]
}

runner_version() {
    sed -n '/^name = "gungraun-runner"/{n;s/version = "\(.*\)"/\1/p;}' Cargo.lock
}

# Unpacked programs do not find their libraries by themselves.
use_libraries() {
    for dir in "$tools"/usr/lib/*-linux-* "$tools"/lib/*-linux-*; do
        LD_LIBRARY_PATH=$dir:$LD_LIBRARY_PATH
    done
    export LD_LIBRARY_PATH
}

skipped() {
    [ -n "$1" ] || return 1
    case " $(echo "$SKIP" | tr , ' ') " in *" $1 "*) ;; *) return 1 ;; esac
}

# Installs packages, where that removes none.
install() {
    try="apt-get install -y -q --no-install-recommends --no-remove $*"
    # A fresh machine has no lists of packages yet, and an old one has those of packages that are gone.
    $try || { apt-get update -q && $try; }
}

# Unpacks packages, and with them what an installation would add to this machine: the shared libraries that it lacks.
unpack() (
    lacking=$(apt-get install -s --no-install-recommends "$@" | sed -n 's/^Inst \([^ ]*\).*/\1/p')
    rm -rf "$tools/packages" && mkdir -p "$tools/packages" && cd "$tools/packages" || exit 1
    # shellcheck disable=SC2086 # These are words.
    apt-get download -q $(printf '%s\n' "$@" $lacking | sort -u) || exit 1
    for package in *.deb; do
        dpkg -x "$package" .. || exit 1
    done
)

# Writes a launcher for an unpacked valgrind, which looks for its tools beside itself.
launch_valgrind() {
    mkdir -p "$tools/bin"
    cat >"$tools/bin/valgrind" <<'END'
#!/bin/sh
usr=$(cd "$(dirname "$0")/../usr" && pwd) || exit 1
for dir in "$usr"/lib/valgrind "$usr"/lib/*-linux-*/valgrind "$usr"/libexec/valgrind; do
    [ ! -d "$dir" ] || VALGRIND_LIB=$dir
done
export VALGRIND_LIB
exec "$usr/bin/valgrind" "$@"
END
    chmod +x "$tools/bin/valgrind"
}

# Builds the runner from the crates' registry, as cargo does everything else.
build_runner() {
    echo "building gungraun-runner $(runner_version) into $tools: $why"
    ${CARGO:-cargo} install --locked --root "$tools" --version "$(runner_version)" gungraun-runner >"$log" 2>&1 &&
        found gungraun-runner && return
    reason=$(sed -n 's/^error: //p' "$log" | head -n 1)
    reason="${reason:-what was built does not run}, see $log"
    return 1
}

# Fetches a program by the first way that leads to it; where none does, `reason` says why.
fetch() {
    mkdir -p "$tools"
    if [ "$1" = gungraun-runner ]; then
        build_runner
        return
    fi
    if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
        reason="there is no apt-get to fetch it with"
        return 1
    fi
    : >"$log"
    # shellcheck disable=SC2086 # These are words.
    if [ "$(id -u)" = 0 ] && [ -z "$unpack_only" ]; then
        echo "installing $packages from the distribution's packages: $why"
        install $packages >>"$log" 2>&1 && found "$1" && return
    fi
    echo "unpacking $packages from the distribution's packages into $tools: $why"
    # shellcheck disable=SC2086 # These are words.
    unpack $packages >>"$log" 2>&1 && { [ "$1" != valgrind ] || launch_valgrind; } && found "$1" && return
    reason=$(sed -n 's/^E: //p' "$log" | tail -n 1)
    reason="${reason:-what was fetched does not run}, see $log"
    return 1
}

for program in "$@"; do
    describe "$program"
    found "$program" || skipped "$word" || fetch "$program" || {
        mend="${packages:+apt-get install $packages}"
        missing="$program is missing ($reason; ${mend:-cargo install $program})"
        if [ -n "$word" ]; then
            echo "NOT RUN: $missing, so what needs it will fail; SKIP=$word leaves them out"
        else
            echo "NOT RUN: $missing" && status=1
        fi
    }
done
exit "${status:-0}"
