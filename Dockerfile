# One static-enough binary on a small base. The database lives in the volume /data.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked && cp target/release/aftercall /aftercall

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /data aftercall && mkdir /data && chown aftercall /data
COPY --from=build /aftercall /usr/local/bin/aftercall
USER aftercall
WORKDIR /data
VOLUME /data
# SIGTERM: claims no more, lets running jobs end within queue.grace, hands back the rest.
STOPSIGNAL SIGTERM
ENTRYPOINT ["aftercall"]
CMD ["run"]
