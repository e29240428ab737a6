# A machine for `integration/test`: Debian 12 with Rust. Servers, MySQL and Java are fetched by integration/setup.
FROM rust:1.95.0-bookworm
ENV RUSTUP_TOOLCHAIN=1.95.0
RUN rustup component add clippy rustfmt
WORKDIR /src
COPY . .
RUN integration/setup
CMD ["integration/test"]
