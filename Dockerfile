# Builds the node and leaves it alone in a small image that runs without rights.
FROM rust:1-slim-trixie AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY assets ./assets
COPY src ./src
COPY benches ./benches
COPY tests ./tests
RUN cargo build --release --locked --bin tallystick

FROM debian:trixie-slim
# A volume takes over owner and rights of the directory that it is mounted on.
RUN useradd --uid 10001 --no-create-home tallystick \
    && mkdir --parents /data /guard /desk /board /rosters \
    && chown tallystick /data /guard /desk /board /rosters \
    && chmod 700 /data /guard /desk /board
# The certificate authorities that other co-ops' nodes are trusted by.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/tallystick /usr/local/bin/tallystick
COPY deploy/start-node deploy/convene deploy/federation /usr/local/bin/
USER tallystick
VOLUME ["/data", "/guard", "/desk"]
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/start-node"]
