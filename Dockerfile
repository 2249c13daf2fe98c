# The image holds one binary, the certificates of public authorities, and a user that owns nothing but /data.
#
#   docker build -t aftercall .
#   docker run --rm aftercall demo --dir /data/demo
#
# A fleet: docker-compose.yml. One machine without a server: docs/operations.md, "In a container".

FROM rust:1.95-slim-bookworm AS dependencies
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# What others wrote is built from the manifests alone, beside empty sources of ours: this layer stays until the manifests change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs tests/main.rs

FROM dependencies AS build
RUN cargo build --release --locked
COPY migrations migrations
COPY playbooks playbooks
COPY jobs jobs
COPY src src
# The empty sources may be younger than ours, and would then be taken for the newer ones.
RUN touch src/lib.rs src/main.rs && cargo build --release --locked

# Runs tests on the PostgreSQL of one version: the services postgres-14 … postgres-18 of docker-compose.yml.
FROM dependencies AS tests
RUN cargo test --no-run --locked
COPY . .
RUN touch src/lib.rs src/main.rs tests/main.rs && cargo test --no-run --locked

FROM tests AS conformance
ARG POSTGRES=17
RUN apt-get update \
    && apt-get install -y --no-install-recommends postgresql-common \
    && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
    && apt-get install -y --no-install-recommends postgresql-${POSTGRES} faketime \
    && rm -rf /var/lib/apt/lists/*
ENV AFTERCALL_PG_BIN=/usr/lib/postgresql/${POSTGRES}/bin
CMD ["scripts/test", "postgres"]

FROM debian:bookworm-slim AS aftercall
RUN useradd --system --uid 10001 --no-create-home --home-dir /data aftercall \
    && mkdir /data \
    && chown aftercall /data
# Upstreams are trusted by the system's authorities. A PostgreSQL is trusted by those in the binary, or by `sslrootcert=` of its
# address.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/target/release/aftercall /usr/local/bin/
USER aftercall
WORKDIR /data
# Where no server is named (AFTERCALL_DATABASE_URL): the embedded database. Mount a volume on /data to keep it.
ENV AFTERCALL_DATABASE_PATH=/data/aftercall.db
# SIGTERM: claims no more, lets running jobs end within queue.grace, hands back the rest.
STOPSIGNAL SIGTERM
ENTRYPOINT ["aftercall"]
CMD ["run"]
