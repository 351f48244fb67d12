#!/bin/sh
# Makes the secrets of docker-compose.yml, once: docker/make-secrets.sh [FOLDER]
# Existing ones are kept. The folder is closed to others; the files in it are readable, since the
# containers that mount them run under numbers of their own.
set -eu
folder=${1:-$(dirname "$0")/../.vitrine/secrets}
umask 077
mkdir -p "$folder"
chmod 700 "$folder"

random() { od -An -tx1 -N24 /dev/urandom | tr -d ' \n'; }

keep() { # NAME VALUE
    if [ ! -s "$folder/$1" ]; then
        printf '%s' "$2" >"$folder/$1"
    fi
    chmod 444 "$folder/$1"
}

keep postgres_password "$(random)"
keep redis_password "$(random)"
keep s3_key vitrine
keep s3_secret "$(random)"
keep milvus_password "$(random)"
keep api_key "$(random)"
keep flower_password "$(random)"
keep database_url "postgresql+psycopg://vitrine:$(cat "$folder/postgres_password")@postgres:5432/vitrine"
keep redis_url "redis://:$(cat "$folder/redis_password")@redis:6379/0"
keep milvus_token "root:$(cat "$folder/milvus_password")"

echo "Secrets are in $folder; the API key is in api_key, Flower's password in flower_password."
