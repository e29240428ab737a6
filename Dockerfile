# syntax=docker/dockerfile:1
# vtmigrated alone, in an image without a system, as a user without rights: `docker build -t vtmigrated .`
# integration/image builds it without Docker and tries what comes out.

# Any image with apt, ca-certificates and this Rust will do.
ARG BUILD_IMAGE=docker.io/library/rust:1.95.0-bookworm

FROM ${BUILD_IMAGE} AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# A C compiler for ring and zstd, make for jemalloc; etcd-client compiles its messages with protoc.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev make protobuf-compiler libprotobuf-dev \
 && rm -rf /var/lib/apt/lists/*
# The version of rust-toolchain.toml, without the components that it asks for: the image has it, and nothing is downloaded.
ENV RUSTUP_TOOLCHAIN=1.95.0 CARGO_HOME=/usr/local/cargo
WORKDIR /src
COPY . .
# Facts of the build for --version and /debug/vars: the repository is not part of the context.
ARG SOURCE_DATE_EPOCH
ARG VTMIGRATED_BUILD_HOST
ARG VTMIGRATED_BUILD_USER
ARG VTMIGRATED_BUILD_NUMBER
ARG VTMIGRATED_BUILD_REVISION
ARG VTMIGRATED_BUILD_BRANCH
# Naming the target keeps the flags from macros and build scripts, which cannot be linked statically. jemalloc is built for the
# largest pages of memory that a kernel of that processor may have: 64 kB on ARM.
RUN target=$(rustc -vV | sed -n 's/^host: //p') \
 && case "$target" in aarch64-*) export JEMALLOC_SYS_WITH_LG_PAGE=16;; esac \
 && RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=/src=. --remap-path-prefix=$CARGO_HOME/registry/src=/cargo" \
    CFLAGS="-ffile-prefix-map=$CARGO_HOME/registry/src=/cargo -ffile-prefix-map=/src=." \
    cargo build --release --locked --package vtmigrated --bin vtmigrated --target "$target" \
 && install -D -m 755 "target/$target/release/vtmigrated" /out/vt/bin/vtmigrated \
 && docker/image-files /out \
 && mkdir -p /out.vitess/vtdataroot

FROM scratch
ARG VTMIGRATED_BUILD_REVISION
LABEL org.opencontainers.image.title="vtmigrated" \
      org.opencontainers.image.description="A vtctld that brings keyspaces from one Vitess cluster into another" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${VTMIGRATED_BUILD_REVISION}"
COPY --from=build /out/ /
# What a vtctld may write to: logs with --log_dir, a file with --pid_file.
COPY --from=build --chown=999:999 /out.vitess/ /vt/
ENV PATH=/vt/bin VTROOT=/vt VTDATAROOT=/vt/vtdataroot
# Where Vitess's tools look for a vtctld. Flags win; `vtctld health` reads the same variable.
ENV VTMIGRATED_PORT=15000 VTMIGRATED_GRPC_PORT=15999
EXPOSE 15000 15999
# The number that Vitess's images and its operator use.
USER 999:999
WORKDIR /vt/vtdataroot
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/vt/bin/vtctld", "health"]
ENTRYPOINT ["/vt/bin/vtctld"]
