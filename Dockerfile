# asyncgg in a virtual environment, run by a user without privileges. Only /work and /tmp are written to, so the root file
# system can be read-only; docs/howto/docker.md shows how to run it.
# The digest is that of the index of all platforms; Dependabot updates tag and digest together.
FROM python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS build
WORKDIR /src
RUN python -m venv /opt/asyncgg
COPY requirements.lock ./
RUN /opt/asyncgg/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY asyncgg ./asyncgg
RUN /opt/asyncgg/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps .

FROM python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
RUN useradd --uid 10001 --create-home asyncgg && install -d -o 10001 -g 10001 /work
COPY --from=build /opt/asyncgg /opt/asyncgg
ENV PATH="/opt/asyncgg/bin:$PATH" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /work
# A volume takes its owner and mode from the image, also on Fargate.
VOLUME ["/work", "/tmp"]
# Exit code 0: the program starts, and the folder of its journals is writable. A run without progress ends by itself
# (--stall-timeout).
HEALTHCHECK --interval=1m --timeout=10s --start-period=10s \
    CMD ["sh", "-c", "test -w /work && asyncgg --version"]
ENTRYPOINT ["asyncgg"]
CMD ["--help"]
