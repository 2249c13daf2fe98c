# Makes, starts and stops a server as it is told on stdin, a command per line, and answers each with a line: exit code, and
# what was said. When stdin ends, its owner is gone: the server ends and nothing of it stays.
folder=$1 programs=$2 settings=$3

# Whoever stops the owner by a signal to everything of a terminal must not stop this.
trap '' HUP INT TERM PIPE

while read -r what how; do
    said=$(
        exec </dev/null 2>&1
        case $what in
        make)
            mkdir -m 700 "$folder" &&
                "$programs/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C --no-sync \
                    >"$folder/initdb.log" &&
                printf '%s\n' "$settings" >>"$folder/data/postgresql.conf"
            ;;
        start) "$programs/pg_ctl" start -s -w -D "$folder/data" -l "$folder/server.log" -o "-p $how" ;;
        stop) "$programs/pg_ctl" stop -s -w -D "$folder/data" -m "$how" ;;
        *) false ;;
        esac
    )
    code=$?
    printf '%s %s\n' "$code" "$(printf '%s' "$said" | tr '\n' ' ')"
done

"$programs/pg_ctl" stop -s -w -D "$folder/data" -m immediate </dev/null >/dev/null 2>&1
rm -rf "$folder"
