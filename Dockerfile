# syntax=docker/dockerfile:1
# vtmigrated alone, as a user without rights: `docker build -t vtmigrated .`

FROM rust:1.95-bookworm AS build
# etcd-client compiles its messages with protoc.
RUN apt-get update \
 && apt-get install -y --no-install-recommends protobuf-compiler libprotobuf-dev \
 && rm -rf /var/lib/apt/lists/*
# The image's own toolchain, not the newest stable one that rust-toolchain.toml asks for.
ENV RUSTUP_TOOLCHAIN=1.95.0
# Facts of the build for --version and /debug/vars; the repository is not part of the context.
ARG SOURCE_DATE_EPOCH
ARG VTMIGRATED_BUILD_HOST
ARG VTMIGRATED_BUILD_USER
ARG VTMIGRATED_BUILD_NUMBER
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p vtmigrated \
 && install -D -m 755 target/release/vtmigrated /out/vtmigrated

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --system --gid 999 vitess \
 && useradd --system --uid 999 --gid vitess --home-dir /vt --shell /usr/sbin/nologin vitess \
 && install -d -o vitess -g vitess /vt/bin /vt/vtdataroot
COPY --from=build /out/vtmigrated /usr/local/bin/vtmigrated
# Vitess's operator starts vtctld by this path.
RUN ln -s /usr/local/bin/vtmigrated /vt/bin/vtctld
COPY LICENSE /usr/share/doc/vtmigrated/LICENSE
USER vitess
# HTTP pages and gRPC, where Vitess's tools look for a vtctld.
EXPOSE 15000 15999
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/vtmigrated"]
CMD ["--port=15000", "--grpc_port=15999", "--logtostderr=true"]
