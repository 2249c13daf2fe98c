# Makes and starts a MariaDB server of one's own, says `ready` or why not, and waits at stdin: when that ends, its owner is gone,
# and so is the server.
folder=$1 port=$2

# Whoever stops the owner by a signal to everything of a terminal must not stop this.
trap '' HUP INT TERM PIPE

mkdir -m 700 "$folder" || exit 1
mariadb-install-db --no-defaults --datadir="$folder/data" --auth-root-authentication-method=normal --skip-test-db \
    >"$folder/log" 2>&1 </dev/null
mariadbd --no-defaults --datadir="$folder/data" --bind-address=127.0.0.1 --port="$port" --socket="$folder/socket" \
    --innodb-buffer-pool-size=16M --innodb-flush-log-at-trx-commit=0 >>"$folder/log" 2>&1 </dev/null &
server=$!

said=
while [ -z "$said" ]; do
    if mariadb-admin --no-defaults --socket="$folder/socket" --user=root ping >/dev/null 2>&1 </dev/null; then
        said=ready
    elif ! kill -0 "$server" 2>/dev/null; then
        said=$(tail -n 5 "$folder/log" | tr '\n' ' ')
        said=${said:-it ended}
    else
        sleep 0.05
    fi
done
printf '%s\n' "$said"

read -r _
kill -9 "$server" 2>/dev/null
wait "$server" 2>/dev/null
rm -rf "$folder"
