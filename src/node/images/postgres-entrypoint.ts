/**
 * What runs first in a `postgres` container: the official image's contract (POSTGRES_USER, _PASSWORD, _DB,
 * _INITDB_ARGS, _INITDB_WALDIR, _HOST_AUTH_METHOD, each also as _FILE; PGDATA; /docker-entrypoint-initdb.d) for a
 * server without psql. Commands are given to the server in single-user mode; init scripts are run by psql
 * against a temporary server where the machine has psql, and .sql files by single-user mode where it has not.
 * Source of the contract: the image's documentation (hub.docker.com/_/postgres).
 */
export const postgresEntrypoint = `#!/bin/sh
set -eu
bin="$WHERRY_POSTGRES/bin"
export LD_LIBRARY_PATH="$WHERRY_POSTGRES/lib:$WHERRY_POSTGRES_START/lib"
export PATH="$bin:$PATH"

# VAR from the file that VAR_FILE names, as for secrets.
file_env() {
  eval "value=\\\${$1:-}; file=\\\${$1_FILE:-}"
  if [ -n "$value" ] && [ -n "$file" ]; then echo "error: both $1 and $1_FILE are set (but are exclusive)" >&2; exit 1; fi
  if [ -n "$file" ]; then value=$(cat "$file"); fi
  if [ -z "$value" ]; then value="\${2:-}"; fi
  export "$1=$value"
  unset "$1_FILE"
}

case "\${1:-}" in -*) set -- postgres "$@" ;; esac
if [ "\${1:-}" != postgres ]; then exec "$@"; fi
case " $* " in *" --help "*|*" -? "*|*" --version "*|*" -V "*|*" --describe-config "*) exec "$@" ;; esac

listen="*"
sockets=/var/run/postgresql
mkdir -p "$sockets" 2>/dev/null || true
[ -w "$sockets" ] || sockets=/tmp
# Without namespaces other databases share port 5432 and /tmp with this one.
if [ -n "\${WHERRY_POD:-}" ]; then listen="$HOST"; sockets=$(mktemp -d "\${TMPDIR:-/tmp}/pg.XXXXXX"); [ "\${#sockets}" -lt 80 ] || sockets=$(mktemp -d /tmp/pg.XXXXXX); fi
mkdir -p "$PGDATA"
chmod 700 "$PGDATA"

sql_name() { printf '%s' "$1" | sed 's/"/""/g'; }
# One command (ended by ; and an empty line) for the server in single-user mode; the first error ends it.
single() { postgres --single -j -D "$PGDATA" -c exit_on_error=on -c log_checkpoints=off "$1" >/dev/null; }

init_scripts() {
  [ -d "$WHERRY_INITDB" ] || return 0
  started=
  for script in "$WHERRY_INITDB"/*; do
    [ -e "$script" ] || continue
    if [ -z "$started" ] && command -v psql >/dev/null 2>&1; then
      PGUSER="\${PGUSER:-$POSTGRES_USER}" pg_ctl -D "$PGDATA" -o "-c listen_addresses= -c unix_socket_directories=$sockets -p 5432" -w start >/dev/null
      started=yes
    fi
    run="psql -v ON_ERROR_STOP=1 --no-psqlrc --host=$sockets --username=$POSTGRES_USER --no-password --dbname=$POSTGRES_DB"
    case "$script" in
      *.sh)
        if [ -x "$script" ]; then echo "running $script"; "$script"; else echo "sourcing $script"; . "$script"; fi ;;
      *.sql) echo "running $script"; if [ -n "$started" ]; then $run -f "$script"; else { cat "$script"; printf '\\n;\\n\\n'; } | single "$POSTGRES_DB"; fi ;;
      *.sql.gz) echo "running $script"; if [ -n "$started" ]; then gunzip -c "$script" | $run; else { gunzip -c "$script"; printf '\\n;\\n\\n'; } | single "$POSTGRES_DB"; fi ;;
      *) echo "ignoring $script" ;;
    esac
  done
  if [ -n "$started" ]; then pg_ctl -D "$PGDATA" -m fast -w stop >/dev/null; fi
}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  file_env POSTGRES_PASSWORD
  file_env POSTGRES_USER postgres
  file_env POSTGRES_DB "$POSTGRES_USER"
  file_env POSTGRES_INITDB_ARGS
  : "\${POSTGRES_HOST_AUTH_METHOD:=}"
  if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
    echo "Error: the database is new and no superuser password is given. Set POSTGRES_PASSWORD to something that is not empty, or POSTGRES_HOST_AUTH_METHOD=trust to let everybody in without one (not recommended)." >&2
    exit 1
  fi
  # The database is made in a folder of its own and moved into place, PG_VERSION last: a start that is killed
  # half way is taken up again or begun anew, and never leaves what looks like a database and is none.
  data="$PGDATA"
  making="$data/.wherry-init"
  if [ ! -e "$making/.done" ]; then
    rm -rf "$making"
    if [ -n "$(ls -A "$data" | grep -v '^lost+found$' || true)" ]; then echo "Error: $data is not empty and holds no database" >&2; exit 1; fi
    mkdir -m 700 "$making"
    export PGDATA="$making"
    password_file="/tmp/pwfile.$$"
    (umask 077; printf '%s\\n' "$POSTGRES_PASSWORD" > "$password_file")
    auth="\${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}"
    pwfile="--pwfile=$password_file"
    [ -n "$POSTGRES_PASSWORD" ] || pwfile=
    waldir=
    [ -z "\${POSTGRES_INITDB_WALDIR:-}" ] || waldir="--waldir=$POSTGRES_INITDB_WALDIR"
    locale="--encoding=UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8"
    case "$POSTGRES_INITDB_ARGS" in *--locale*|*-E*|*--encoding*|*--no-locale*) locale= ;; esac
    eval 'initdb -D "$PGDATA" --username="$POSTGRES_USER" --auth-local=trust --auth-host="$auth" $pwfile $waldir $locale --no-instructions '"$POSTGRES_INITDB_ARGS"
    rm -f "$password_file"
    printf '\\nhost all all all %s\\n' "$auth" >> "$PGDATA/pg_hba.conf"
    if [ "$POSTGRES_DB" != postgres ]; then printf 'CREATE DATABASE "%s"\\n;\\n\\n' "$(sql_name "$POSTGRES_DB")" | single postgres; fi
    PGPASSWORD="$POSTGRES_PASSWORD" init_scripts
    : > "$making/.done"
    export PGDATA="$data"
  fi
  for entry in "$making"/* "$making"/.[!.]*; do
    case "$entry" in */PG_VERSION|*/.done|*'*'*) ;; *) mv "$entry" "$data/" ;; esac
  done
  mv "$making/PG_VERSION" "$data/"
  rm -rf "$making"
  echo
  echo "PostgreSQL init process complete; ready for start up."
  echo
fi
unset POSTGRES_PASSWORD PGPASSWORD || true
shift
exec postgres -D "$PGDATA" -c "listen_addresses=$listen" -c "unix_socket_directories=$sockets" "$@"
`;
