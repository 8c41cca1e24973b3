# Builds the node and leaves it alone in a small image that runs without rights.
FROM rust:1-slim-trixie AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src ./src
COPY benches ./benches
COPY tests ./tests
RUN cargo build --release --locked --bin tallystick

FROM debian:trixie-slim
RUN useradd --uid 10001 --no-create-home tallystick \
    && mkdir --parents /data /guard && chown tallystick /data /guard
COPY --from=build /src/target/release/tallystick /usr/local/bin/tallystick
COPY deploy/start-node /usr/local/bin/start-node
USER tallystick
VOLUME ["/data", "/guard"]
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/start-node"]
