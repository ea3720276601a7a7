# The server in an image with little else: its playground is inside of the program, and a Debian is around it.
# Builds with BuildKit and with the builder that was there before it.

FROM node:22-slim AS playground
WORKDIR /playground
COPY playground/package.json playground/package-lock.json playground/.npmrc ./
RUN npm ci --no-audit --no-fund
COPY playground .
RUN npm run build

FROM rust:1.95-slim-trixie AS program
WORKDIR /angarium
COPY . .
# Cargo reads the manifest of every crate of the workspace, and wants to see what it names; the tests and benchmarks are not
# here.
RUN mkdir tests/src && touch tests/src/lib.rs && sed -i '/^\[\[/,/^$/d' dispatcher/Cargo.toml tests/Cargo.toml
COPY --from=playground /playground/dist playground/dist
# The lines of a backtrace are for those who build it themselves: they are most of the file.
ENV CARGO_PROFILE_RELEASE_STRIP=debuginfo
RUN cargo build --release --locked --features playground --package angarium-api --bin angarium

FROM debian:trixie-slim
# Whom to trust, for receivers and servers with certificates of a public authority.
COPY --from=program /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=program /angarium/target/release/angarium /usr/local/bin/
# Nobody's number; it owns no file.
USER 10001:10001
ENV ANGARIUM_LISTEN=0.0.0.0:8080
EXPOSE 8080
# Whether it lives: what is merely not ready, because its database is away, is not helped by a restart.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["angarium", "health", "--live"]
ENTRYPOINT ["angarium"]
CMD ["serve"]
